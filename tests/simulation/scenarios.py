"""Scenarios: what the schedules of a kind have in common, and how their callers, queries and faults are
drawn.

A rare condition has a scenario of its own, in which it is met often.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.simulation.athena import FAILURES, End, NamedQuery, Plan
from tests.simulation.choices import Choices
from tests.simulation.deployment import Deployment
from tests.simulation.faults import (
    ALL_FAULTS,
    ANSWER_FAULTS,
    EVENT_FAULTS,
    SERVICES,
    FaultLevel,
    FaultProfile,
    Outage,
    OutageMode,
    Service,
    pick_kinds,
)

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0

# In every statement, and nowhere else: a log line that contains it has leaked SQL.
SECRET = "secret-literal"

NAMED_QUERY, ABSENT_NAMED_QUERY = (
    "6f0a1c5e-0000-4000-8000-00000000000a",
    "6f0a1c5e-0000-4000-8000-00000000000b",
)

# What StartExecution accepts as input, in bytes (Step Functions API reference).
INPUT_BYTES = 262_144

# Longer than an execution may last.
NEVER = 3 * DAY


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Chances, and options of which each schedule picks one. Times are in seconds.

    `share` is how often a random schedule is of this scenario, relative to the others. `lags` are how far the
    hosts' clocks are ahead, and `slow` is the function whose AWS calls are slow, if any. `redrives` are how
    many redrives there are, each within one of `redriven_within`.
    """

    share: int = 1
    levels: tuple[FaultLevel, ...] = ("calm", "events", "storm", "storm", "storm", "storm")
    kinds: tuple[str, ...] = ALL_FAULTS
    fault_rates: tuple[float, ...] = (0.05, 0.15, 0.4)
    faults_until: tuple[float, ...] = (5.0, 60.0, 400.0)
    outages: tuple[int, ...] = (0,)
    services: tuple[Service, ...] = SERVICES
    outage_seconds: tuple[float, ...] = (MINUTE, 5 * MINUTE, 20 * MINUTE, HOUR, 3 * HOUR)
    patience: tuple[int, ...] = (20, 60, 300)
    poll: tuple[int, ...] = (30, 5)
    growth: tuple[float, ...] = (0.1, 0.1, 1.0)
    sweep_minutes: tuple[int, ...] = (5, 1)
    lags: tuple[tuple[float, ...], ...] = ((0.0,), (0.0, -0.05, 0.05))
    answers_lag: tuple[float, ...] = (0.0, 0.0, 3.0)
    slow: tuple[str, ...] = ("", "", "", "", "executor", "checker")
    query_seconds: tuple[float, ...] = (0.0, 0.05, 0.2, 2.0, 2.0, 20.0, 400.0)
    endless: float = 0.3
    ends: tuple[End, ...] = (
        *("success", "success", "success", "success", "success", "success"),
        *("failure", "failure", "transient failure", "transient failure", "transient failure"),
        *("cancelled by somebody", "scan limit", "failed, then resumed"),
    )
    second_execution: float = 0.15
    foreign: float = 0.1
    invalid_input: float = 0.03
    large_input: float = 0.0
    refused: float = 0.03
    named_query: float = 0.05
    writes: float = 0.25
    timeout: float = 0.3
    timeouts: tuple[int, ...] = (1, 5, 40, 60, 400)
    previews: float = 0.1
    abort: float = 0.25
    abort_within: tuple[float, ...] = (1.0, 1.0, 10.0, 60.0, 400.0)
    redrives: tuple[int, ...] = (0, 0, 1, 2)
    redriven_within: tuple[float, ...] = (0.5, 5.0, 100.0)
    busy_seconds: tuple[float, ...] = (0.0, 0.0, 0.0, 20.0, 200.0)
    token_seconds: tuple[float, ...] = (67 * MINUTE,)
    update: float = 0.05
    named_query_changes: float = 0.3


SCENARIOS: Mapping[str, Scenario] = {
    "mixed": Scenario(share=10),
    # Queries of hours, and outages of one or two services from a minute to three hours.
    "outages": Scenario(
        share=2,
        levels=("calm", "calm", "storm"),
        fault_rates=(0.05,),
        outages=(1, 1, 2),
        patience=(300,),
        poll=(30,),
        growth=(0.1,),
        sweep_minutes=(5,),
        query_seconds=(0.2, 20.0, 400.0, HOUR, 2 * HOUR, 2 * HOUR),
        abort_within=(10.0, 400.0, HOUR),
        redriven_within=(5.0, HOUR),
    ),
    # Athena has no capacity for minutes to hours, and executors fail meanwhile.
    "full": Scenario(
        levels=("calm", "storm", "storm"),
        busy_seconds=(20.0, 200.0, 200.0, 2.5 * HOUR),
        sweep_minutes=(5, 15),
        timeout=0.5,
        abort=0.1,
        abort_within=(60.0, HOUR),
        redrives=(0, 1),
    ),
    # Executions end while their query is being started, and events are lost.
    "aborts": Scenario(
        share=2,
        levels=("events", "storm", "storm"),
        abort=0.9,
        abort_within=(0.3, 1.0, 1.0, 10.0),
        endless=0.7,
        timeout=0.1,
        slow=("", "executor"),
    ),
    # Failed executions are redriven at once, while their first end is being processed, or hours and days
    # later.
    "redrives": Scenario(
        share=2,
        fault_rates=(0.05, 0.15),
        ends=("success", "success", "failure", "transient failure", "cancelled by somebody"),
        abort=0.6,
        writes=0.5,
        redrives=(1, 2, 3),
        redriven_within=(0.5, 0.5, 5.0, 100.0, HOUR, 13 * DAY),
        query_seconds=(0.2, 2.0, 20.0, 400.0, HOUR),
    ),
    # Clocks of hosts that differ by up to two seconds, and deadlines.
    "clocks": Scenario(
        levels=("calm", "calm", "events", "storm"),
        lags=((0.0, 0.6), (-0.6, 0.6), (-2.0, 0.0, 2.0)),
        timeout=0.8,
        endless=0.7,
        abort=0.1,
    ),
    # A deployment changes the document and the functions' settings, and named queries are edited, under way.
    "updates": Scenario(update=0.9, named_query=0.6, named_query_changes=0.9, fault_rates=(0.15, 0.4)),
    # Inputs near the limit of what Step Functions accepts, and executors that fail.
    "large inputs": Scenario(
        large_input=0.8,
        levels=("calm", "storm"),
        outages=(0, 1),
        outage_seconds=(MINUTE, 20 * MINUTE, 2 * HOUR),
    ),
    # Queries that end about when a window or a poll interval does.
    "windows": Scenario(
        levels=("calm", "calm", "events"),
        patience=(20,),
        poll=(5,),
        query_seconds=(30.0, 60.0, 60.0, HOUR),
        abort=0.0,
        timeout=0.05,
        slow=("", "executor", "checker", "checker"),
        answers_lag=(0.0, 3.0, 3.0),
    ),
    # Statements that Athena refuses, and inputs that are invalid.
    "refusals": Scenario(
        share=0,
        levels=("calm", "storm"),
        refused=0.5,
        invalid_input=0.1,
        named_query=0.2,
        abort=0.1,
        timeout=0.5,
    ),
    # Deadlines that pass while queries run, and untrue events.
    "deadlines": Scenario(
        levels=("calm", "events", "storm"),
        kinds=EVENT_FAULTS,
        timeout=0.9,
        timeouts=(1, 5, 40),
        endless=0.8,
        abort=0.05,
        redrives=(0, 1),
        busy_seconds=(0.0, 0.0, 20.0),
    ),
    # Athena resumes queries after FAILED, whose executions run again, are aborted and redriven.
    "resumed queries": Scenario(
        share=0,
        levels=("calm",),
        query_seconds=(0.2, 2.0),
        ends=("failed, then resumed", "failed, then resumed", "success"),
        timeout=0.0,
        abort=1.0,
        abort_within=(20.0, 40.0),
        redrives=(1, 2),
        redriven_within=(20.0, 100.0),
        busy_seconds=(0.0,),
        second_execution=0.0,
    ),
    # Somebody cancels queries shortly before their deadline, and Athena's answers lag.
    "cancelled before the deadline": Scenario(
        share=0,
        levels=("calm", "events"),
        kinds=("event lost",),
        answers_lag=(3.0,),
        query_seconds=(2.0, 4.0),
        ends=("cancelled by somebody",),
        endless=0.0,
        timeout=1.0,
        timeouts=(5,),
        abort=0.0,
    ),
    # Executors die after a call, and deadlines pass before they are called again.
    "dying executors": Scenario(
        share=0,
        levels=("storm",),
        kinds=("function crashed after a call", "function timed out after a call"),
        fault_rates=(0.15, 0.4),
        faults_until=(60.0,),
        timeout=0.8,
        timeouts=(1, 5),
        endless=1.0,
        abort=0.1,
        redrives=(0,),
    ),
    # Events are lost, so that redrives find queries that run or have succeeded.
    "adoptions": Scenario(
        levels=("events",),
        kinds=("event lost",),
        fault_rates=(0.9,),
        faults_until=(HOUR,),
        query_seconds=(0.2, 20.0, 400.0),
        ends=("success", "success", "failure", "transient failure"),
        timeout=0.8,
        timeouts=(40, 400),
        abort=1.0,
        abort_within=(1.0, 10.0, 30.0),
        writes=0.5,
        redrives=(1, 2),
        redriven_within=(5.0, 100.0),
    ),
    # Redrives whose executors are called again, or still run by then, while Athena resumes the earlier query.
    "redrives tried twice": Scenario(
        levels=("storm",),
        kinds=(
            *("call failed before its effect", "call failed before its effect", "call slow"),
            "invocation's answer lost",
        ),
        fault_rates=(0.4,),
        faults_until=(60.0,),
        patience=(20,),
        poll=(5,),
        query_seconds=(0.2, 2.0),
        ends=("failed, then resumed",),
        endless=0.0,
        timeout=0.0,
        writes=0.5,
        abort=0.0,
        redrives=(1, 2),
        redriven_within=(0.5, 5.0),
        busy_seconds=(0.0,),
        second_execution=0.0,
    ),
    # A run is aborted and redriven while its executor starts the query, and the event of its end is lost.
    "delayed executors": Scenario(
        levels=("events",),
        kinds=("event lost",),
        fault_rates=(0.9,),
        faults_until=(60.0,),
        slow=("executor",),
        endless=0.7,
        timeout=0.0,
        abort=1.0,
        abort_within=(0.3,),
        redrives=(1, 2),
        redriven_within=(0.3,),
        busy_seconds=(0.0,),
        second_execution=0.0,
    ),
    # Step Functions refuses callbacks, while deadlines pass.
    "failing callbacks": Scenario(
        share=0,
        levels=("calm",),
        outages=(1,),
        services=("Step Functions callbacks",),
        outage_seconds=(20 * MINUTE,),
        timeout=1.0,
        timeouts=(1, 5, 40),
        endless=0.8,
        abort=0.0,
        redrives=(0,),
    ),
    # Athena fails to stop queries at their deadlines.
    "failing stops": Scenario(
        share=0,
        levels=("storm",),
        kinds=("call failed before its effect", "call throttled"),
        fault_rates=(0.4,),
        faults_until=(400.0,),
        timeout=1.0,
        timeouts=(5, 40),
        endless=1.0,
        abort=0.0,
        redrives=(0,),
    ),
    # DynamoDB and Athena answer only a part of a batch.
    "partial answers": Scenario(
        levels=("events",),
        kinds=("batch answered in part", "event lost"),
        fault_rates=(0.4,),
        faults_until=(HOUR,),
        patience=(300,),
        sweep_minutes=(1,),
        second_execution=0.8,
        query_seconds=(20.0, 400.0),
        timeout=0.0,
        redrives=(0, 1),
    ),
    # Results that cannot be read.
    "previews": Scenario(share=0, levels=("storm",), previews=0.9, ends=("success",), abort=0.0),
    # Redrives on the last days on which they are possible, whose events are lost.
    "late redrives": Scenario(
        levels=("calm", "events"),
        kinds=("event lost",),
        fault_rates=(0.9,),
        faults_until=(15 * DAY,),
        query_seconds=(20.0, 400.0, 6 * HOUR),
        ends=("success",),
        abort=1.0,
        abort_within=(10.0, 400.0),
        endless=0.0,
        writes=0.8,
        timeout=0.0,
        redrives=(1, 2),
        redriven_within=(13 * DAY,),
        patience=(300,),
        poll=(30,),
        sweep_minutes=(60,),
    ),
    # An execution that is redriven again and again, so that its item reaches its bound.
    "many redrives": Scenario(
        share=0,
        levels=("calm", "events"),
        query_seconds=(0.2,),
        ends=("failure",),
        abort=0.0,
        timeout=0.0,
        redrives=(60,),
        redriven_within=(2.0,),
        second_execution=0.0,
        busy_seconds=(0.0,),
    ),
    # Nothing fails but what an outage stops: for the commands that measure.
    "healthy": Scenario(
        share=0, slow=("",), lags=((0.0,),), answers_lag=(0.0,), busy_seconds=(0.0,), redrives=(0,), abort=0.0
    ),
}


def draw_scenario(choices: Choices) -> Scenario:
    return choices.pick(_BY_SHARE)


_BY_SHARE = [scenario for scenario in SCENARIOS.values() for _ in range(scenario.share)]


def draw_deployment(scenario: Scenario, choices: Choices) -> Deployment:
    return Deployment(
        patience_seconds=choices.pick(scenario.patience),
        poll_seconds=choices.pick(scenario.poll),
        poll_growth=choices.pick(scenario.growth),
        sweep_minutes=choices.pick(scenario.sweep_minutes),
    )


def draw_faults(scenario: Scenario, choices: Choices, now: float) -> FaultProfile:
    """A few kinds of fault for each schedule, so that they meet in clusters."""
    level = choices.pick(scenario.levels)
    allowed = {"calm": (), "events": (*EVENT_FAULTS, *ANSWER_FAULTS), "storm": ALL_FAULTS}[level]
    offered = [kind for kind in scenario.kinds if kind in allowed]
    likely = choices.pick((0.2, 0.5))
    return FaultProfile(
        kinds=pick_kinds(choices, offered, likely),
        rate=choices.pick(scenario.fault_rates),
        until=now + choices.pick(scenario.faults_until),
        outages=tuple(_draw_outage(scenario, choices, now) for _ in range(choices.pick(scenario.outages))),
    )


def _draw_outage(scenario: Scenario, choices: Choices, now: float) -> Outage:
    service = choices.pick(scenario.services)
    mode: OutageMode = choices.pick(("refuse", "refuse", "hang"))
    begins = now + choices.between(0.0, choices.pick((1.0, MINUTE, HOUR)))
    return Outage(
        service=service, begins=begins, ends=begins + choices.pick(scenario.outage_seconds), mode=mode
    )


def draw_input(scenario: Scenario, choices: Choices, number: int) -> Any:
    """What a caller sends to StartExecution. `number` makes its statement one of its own."""
    pick, chance = choices.pick, choices.chance
    if chance(scenario.invalid_input):
        return pick(
            (
                {},
                [],
                "SELECT 1",
                {"QueryString": " ", "TimeoutSeconds": "soon", "RunAgain": "again"},
                {"QueryString": "SELECT 1", "TimeoutSeconds": 0},
                {"QueryString": "SELECT 1", "TimeoutSeconds": [1, 2]},
                {"QueryString": "SELECT 1", "Sql": SECRET},
                {"QueryString": "SELECT 1", "NamedQueryId": NAMED_QUERY},
            )
        )
    request: dict[str, Any] = {}
    if chance(scenario.named_query):
        request["NamedQueryId"] = pick((NAMED_QUERY, NAMED_QUERY, ABSENT_NAMED_QUERY))
    else:
        request["QueryString"] = f"{_draw_verb(scenario, choices)} '{SECRET} {number}'"
    if chance(0.2):
        request["Database"] = "other"
    if chance(scenario.timeout):
        request["TimeoutSeconds"] = pick(scenario.timeouts)
    if chance(0.5):
        request["MaxAttempts"] = pick((1, 3))
    if chance(0.3):
        request["Idempotent"] = pick((True, False))
    if chance(scenario.previews):
        request["PreviewRows"] = 1
    if number % 2:
        request["Labels"] = {"team": f"team {number}"}
    if "QueryString" in request and chance(scenario.large_input):
        room = INPUT_BYTES - len(json.dumps(request))
        request["QueryString"] += " " * (room - pick((0, 100, 1_000, 5_000, 20_000)))
    return request


def _draw_verb(scenario: Scenario, choices: Choices) -> str:
    if choices.chance(scenario.refused):
        return choices.pick(("SELECT REFUSED", "SELECT DENIED"))
    if choices.chance(scenario.writes):
        return choices.pick(("INSERT INTO t SELECT", "CREATE TABLE t AS SELECT"))
    return choices.pick(("SELECT", "/* - */ SELECT", "EXPLAIN SELECT"))


def draw_named_query(choices: Choices) -> NamedQuery:
    verb = choices.pick(("SELECT", "SELECT", "INSERT INTO t SELECT"))
    return NamedQuery(f"{verb} '{SECRET} named {choices.pick((1, 2, 3))}'", choices.pick(("d", "e")))


def draw_plan(scenario: Scenario, choices: Choices, *, may_be_endless: bool) -> Plan:
    """What a query does. One that never ends is fair only where somebody stops it."""
    between = choices.between
    seconds = between(0.0, choices.pick(scenario.query_seconds))
    if may_be_endless and choices.chance(scenario.endless):
        seconds = NEVER
    end: End = choices.pick(scenario.ends)
    transient = end == "transient failure" or (end == "failed, then resumed" and choices.chance(0.5))
    return Plan(
        runs_after=min(seconds, HOUR) * between(0.0, 0.9),
        requeued=choices.chance(0.1),
        ends_after=seconds,
        end=end,
        failure=choices.pick([each for each in FAILURES if each.transient is transient]),
    )


CLAIM_PLAN = Plan(runs_after=0.1, requeued=False, ends_after=0.2, end="success")
