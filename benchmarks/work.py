"""Work per query: state transitions, invocations and AWS calls, against the duration of the query.

The simulation runs the functions and the state machine's document in virtual time, without faults. The sweep
of the canceller is left out, since it does not depend on the number of queries.
"""

import re
from collections import Counter
from dataclasses import dataclass

from benchmarks.result import Result, Table
from tests.simulation.athena import Plan
from tests.simulation.choices import SeededChoices
from tests.simulation.deployment import Deployment
from tests.simulation.events import RULES
from tests.simulation.faults import FaultProfile
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.world import Variant, World

SECOND, MINUTE, HOUR = 1.0, 60.0, 3_600.0
DURATIONS = (SECOND, MINUTE, 10 * MINUTE, HOUR, 12 * HOUR)
# Within the callback window of five minutes.
_WITHIN_WINDOW = 2
# Twelve hours are 5.6 doublings of the first poll's interval of five minutes; a fixed interval takes 4,292.
GOAL_AT_12_HOURS = 180

_CALL = re.compile(r"([A-Z]\w+) ")
_MOST_ACTIONS = 1_000_000
_WITHOUT_EVENTS = Variant(rules=tuple(rule for rule in RULES if rule.function != "checker"))


@dataclass(frozen=True, kw_only=True)
class Work:
    """The work of one query. `seconds` is the virtual run time of its functions."""

    transitions: int
    invocations: int
    seconds: float
    calls: Counter[str]

    @property
    def writes(self) -> int:
        """DynamoDB's units: an item with a task token is larger than a kilobyte, another one is not."""
        return self.calls["UpdateItem"] + self.calls["UpdateItem of a query"]

    @property
    def reads(self) -> int:
        return self.calls["GetItem"]


def count(duration: float, *, event_arrives: bool = True) -> Work:
    """Run one query of so many seconds, and count the work until its execution has ended."""
    world = World(
        SeededChoices(1),
        deployment=Deployment(),
        faults=FaultProfile(),
        scenario=SCENARIOS["healthy"],
        variant=Variant() if event_arrives else _WITHOUT_EVENTS,
        plan=Plan(runs_after=0.5, requeued=False, ends_after=duration, end="success"),
    )
    world.start(1, {"QueryString": "SELECT 1"}, 0.0)
    timeline = world.run(_MOST_ACTIONS).timeline
    calls: Counter[str] = Counter()
    transitions = invocations = 0
    seconds = 0.0
    for time, who, what in timeline:
        if who.startswith("run-"):
            transitions += what.startswith("enters ")
        elif who.startswith(("executor#", "checker#")):
            if what == "begins":
                invocations += 1
                seconds -= time
            elif what == "ends":
                seconds += time
            elif found := _CALL.match(what):
                calls[found[1]] += 1
                calls["UpdateItem of a query"] += found[1] == "UpdateItem" and ":execution:" not in what
    return Work(transitions=transitions, invocations=invocations, seconds=seconds, calls=calls)


def measure(*, small: bool) -> Result:
    """The small version leaves out the long queries."""
    durations = DURATIONS[:_WITHIN_WINDOW] if small else DURATIONS
    rows = []
    longest = 0
    goal_held = True
    for event_arrives in (True, False):
        for duration in durations:
            work = count(duration, event_arrives=event_arrives)
            if duration in DURATIONS[:_WITHIN_WINDOW] and event_arrives:
                goal_held &= (work.transitions, work.invocations) == (2, 2)
            longest = max(longest, work.transitions)
            rows.append(
                [
                    shown(duration),
                    "arrives" if event_arrives else "lost",
                    work.transitions,
                    work.invocations,
                    round(work.seconds * 1_000),
                    work.writes,
                    work.reads,
                    sum(work.calls[name] for name in ("StartQueryExecution", "GetQueryExecution")),
                    work.calls["SendTaskSuccess"],
                ]
            )
    columns = [
        *("duration", "event", "transitions", "invocations", "function ms (virtual)"),
        *("write units", "read units", "Athena calls", "callbacks"),
    ]
    return Result(
        name="work",
        tables=[Table(title="Work of one query", columns=columns, rows=rows)],
        figure=f"2 transitions and 2 invocations within the window, at most {longest} transitions in all"
        if goal_held
        else "more than 2 transitions or 2 invocations within the window",
        goal=f"2 and 2, at most {GOAL_AT_12_HOURS} for 12 h",
        held=goal_held and longest <= GOAL_AT_12_HOURS,
    )


def shown(duration: float) -> str:
    """`90` as `1.5 min`."""
    for unit, name in ((HOUR, "h"), (MINUTE, "min")):
        if duration >= unit:
            return f"{duration / unit:g} {name}"
    return f"{duration:g} s"
