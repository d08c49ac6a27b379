"""One schedule: a world is drawn, runs until nothing is left to happen, and leaves a history to check."""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

from functions import canceller, checker, executor
from functions.events import EXECUTION_STATUS_CHANGE, QUERY_STATE_CHANGE
from functions.observability import lambda_handler
from functions.runtime import Runtime
from functions.task_table import STARTED, TaskTable
from tests.simulation.athena import Athena, Plan, Query, is_claim
from tests.simulation.choices import Choices
from tests.simulation.clock import BEGINNING, Clock, RanTooLong
from tests.simulation.deployment import Deployment, EditDocument
from tests.simulation.dynamodb import DynamoDb
from tests.simulation.events import RULES, STATE_MACHINE_ARN, WORK_GROUP, EventBus, Rule, Schedule
from tests.simulation.faults import FaultProfile, Faults
from tests.simulation.interpreter import Execution, Quirks, Run, StateMachine
from tests.simulation.lambdas import Lambdas, Outcome
from tests.simulation.recording import Reports, recorded
from tests.simulation.scenarios import (
    CLAIM_PLAN,
    DAY,
    MINUTE,
    NAMED_QUERY,
    SECRET,
    Scenario,
    draw_deployment,
    draw_faults,
    draw_input,
    draw_named_query,
    draw_plan,
    draw_scenario,
)
from tests.simulation.stepfunctions import Callback, StepFunctions

if TYPE_CHECKING:
    from mypy_boto3_athena import AthenaClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_stepfunctions import SFNClient

MOST_ACTIONS = 60_000

# Seconds within which ListExecutions shows an end.
LISTED_WITHIN = 5.0

# As infra/ sets it, in seconds; tests/template/test_simulated_rules.py compares the two.
EVENT_AGE = 6 * 3_600.0


@dataclass(frozen=True)
class Subject:
    """What an invocation is for: an execution, its run, and its entry into "Start query", counted from 1.

    These are the simulation's own records, which the functions never see.
    """

    execution: Execution
    run: Run
    entry: int


@dataclass(kw_only=True)
class History:
    """All that happened. `deployments` are those that were in force, the first one first. `timeline` holds
    `(epoch seconds, who, what)`. `prompt` is how many seconds an undisturbed callback takes at most: the
    delivery of an event, a cold function, its calls, and clocks that disagree. `skew` is how far two clocks
    differ at most, and `answers_lag` how many seconds Athena's answers lag behind its events. `sweeps`: the
    schedule is there.
    """

    deployments: list[Deployment]
    clock: Clock
    faults: Faults
    lambdas: Lambdas
    athena: Athena
    machine: StateMachine
    table: DynamoDb
    busy: tuple[float, float]
    token_seconds: float
    timeline: list[tuple[float, str, str]]
    reports: Reports
    callbacks: list[Callback]
    sent_tokens: set[tuple[int, str]]
    prompt: float
    skew: float
    answers_lag: float
    sweeps: bool
    never_rested: str = ""

    @cached_property
    def registrations(self) -> Mapping[tuple[str, str, int], float]:
        """When an execution registered a query under a redrive count."""
        first: dict[tuple[str, str, int], float] = {}
        for write in self.table.writes:
            for value in (value["M"] for name, value in write.item.items() if name.startswith(STARTED)):
                key = (write.key, value["QueryId"]["S"], int(value["RedriveCount"]["N"]))
                first.setdefault(key, write.at)
        return first

    def text(self) -> str:
        """The timeline, one line for each thing that happened, in seconds from the beginning."""
        profile = self.faults.profile
        head = [
            *map(str, self.deployments),
            f"{profile.level}: rate {profile.rate}, until {profile.until - BEGINNING:.0f} s: "
            + (", ".join(sorted(profile.kinds)) or "no random faults"),
            *(
                f"{each.service} down from {each.begins - BEGINNING:.0f} s to {each.ends - BEGINNING:.0f} s"
                for each in profile.outages
            ),
            *(f"{each.arn} {json.dumps(each.input)[:300]}" for each in self.machine.executions),
        ]
        lines = [f"{time - BEGINNING:10.3f}  {who:<14} {what}" for time, who, what in self.timeline]
        return "\n".join([*head, "", *lines])


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What a mutant changes of the world, apart from the functions' code."""

    rules: tuple[Rule, ...] = RULES
    edit_document: EditDocument | None = None
    edit_deployment: Mapping[str, Any] = field(default_factory=dict)
    scheduled: bool = True


def run_schedule(choices: Choices, variant: Variant = Variant(), scenario: Scenario | None = None) -> History:
    """Draw a world, and run it until it rests."""
    scenario = scenario or draw_scenario(choices)
    world = World(
        choices,
        deployment=replace(draw_deployment(scenario, choices), **variant.edit_deployment),
        faults=draw_faults(scenario, choices, BEGINNING),
        scenario=scenario,
        variant=variant,
    )
    world.draw_callers()
    return world.run(MOST_ACTIONS)


class World:
    """The stack, and the AWS services that it runs on. `run` it once executions are planned.

    `plan` is that of every query; without it each has one of its own.
    """

    def __init__(
        self,
        choices: Choices,
        *,
        deployment: Deployment,
        faults: FaultProfile,
        scenario: Scenario,
        variant: Variant = Variant(),
        plan: Plan | None = None,
    ) -> None:
        self._choices = choices
        self._scenario = scenario
        self._variant = variant
        self._plan = plan
        self._deployment = deployment
        self.clock = clock = Clock()
        self._timeline: list[tuple[float, str, str]] = []
        self.faults = Faults(faults, choices, clock)
        slow = choices.pick(scenario.slow)
        lags = choices.pick(scenario.lags)
        answers_lag = choices.pick(scenario.answers_lag)
        self.lambdas = Lambdas(
            clock=clock,
            choices=choices,
            faults=self.faults,
            note=self._note,
            lags=lags,
            slowest_start=choices.pick((0.15, 0.01)),
            # With a slow one, events often arrive before the token that they are for, or while it is at work.
            slowest_call={
                name: 0.3 if name == slow else 0.06 for name in ("executor", "checker", "canceller")
            },
            event_age=EVENT_AGE,
        )
        self._bus = EventBus(
            rules=variant.rules,
            clock=clock,
            choices=choices,
            faults=self.faults,
            lambdas=self.lambdas,
            note=self._note,
            slowest_event=choices.pick((0.3, 0.01)),
        )
        busy_from = clock.now + choices.pick((0.0, 0.0, 30.0))
        busy = (busy_from, busy_from + choices.pick(scenario.busy_seconds))
        token_seconds = choices.pick(scenario.token_seconds)
        self.athena = Athena(
            clock=clock,
            choices=choices,
            faults=self.faults,
            lambdas=self.lambdas,
            note=self._note,
            publish=self._publish_query,
            foresee=self._publish_state,
            plan_query=self._plan_query,
            named_queries={NAMED_QUERY: draw_named_query(choices)},
            busy=busy,
            answers_lag=answers_lag,
            token_seconds=token_seconds,
        )
        self.machine = StateMachine(
            deployment.document(variant.edit_document),
            arn=STATE_MACHINE_ARN,
            clock=clock,
            choices=choices,
            note=self._note,
            invoke=self._invoke,
            ended=self._execution_ended,
            quirks=Quirks(
                redrive_keeps_entered_time=choices.chance(0.5),
                redrive_count_from_the_start=choices.chance(0.5),
            ),
        )
        self._callbacks = StepFunctions(
            self.machine, clock=clock, lambdas=self.lambdas, answers_lag=choices.pick((0.0, 1.0))
        )
        self._table = DynamoDb(
            clock=clock,
            faults=self.faults,
            lambdas=self.lambdas,
            expiry_lag=choices.pick((0.0, 2 * DAY)),
            read_lag=choices.pick((0.0, 1.0)),
        )
        self._runtime = self._make_runtime()
        self.lambdas.handlers = {
            "executor": lambda_handler(lambda event: executor.run(event, self._runtime)),
            "checker": lambda_handler(lambda event: checker.run(event, self._runtime)),
            "canceller": lambda_handler(lambda event: canceller.run(event, self._runtime)),
        }
        self._sweeps = Schedule(
            deployment.sweep_minutes * MINUTE,
            clock=clock,
            fire=lambda: self._bus.tick("canceller"),
            at_rest=self._at_rest,
        )
        self._reports = Reports()
        self.history = History(
            deployments=[deployment],
            clock=clock,
            faults=self.faults,
            lambdas=self.lambdas,
            athena=self.athena,
            machine=self.machine,
            table=self._table,
            busy=busy,
            token_seconds=token_seconds,
            timeline=self._timeline,
            reports=self._reports,
            callbacks=self._callbacks.callbacks,
            sent_tokens=self._callbacks.sent,
            prompt=(2.5 if slow else 1.0) + max(lags) - min(lags),
            skew=max(lags) - min(lags),
            answers_lag=answers_lag,
            sweeps=variant.scheduled,
        )
        self._aborted: set[Run] = set()
        self._redrives_left = choices.pick(scenario.redrives)
        self._abort_soon = choices.chance(scenario.abort)

    def run(self, most_actions: int) -> History:
        """Run until nothing is left to happen."""
        with recorded(self._reports, lambda: self.lambdas.current):
            try:
                self.clock.run(most_actions=most_actions)
            except RanTooLong as busy:
                self.history.never_rested = str(busy)
        return self.history

    def _note(self, who: str, what: str) -> None:
        self._timeline.append((self.clock.now, who, what))

    def _at_rest(self) -> bool:
        last_end = max(
            (run.end.at for one in self.machine.executions for run in one.runs if run.end), default=0.0
        )
        return (
            # A list may not show an end yet.
            self.clock.now > last_end + LISTED_WITHIN
            and not any(execution.running for execution in self.machine.executions)
            and all(query.ended for query in self.athena.queries.values())
            and not self.lambdas.under_way
            and not self._bus.under_way
            and self.faults.ceased
            and self.clock.now >= self.history.busy[1]
        )

    def _make_runtime(self) -> Runtime:
        settings = self._deployment.settings()
        return Runtime(
            settings=settings,
            athena=cast("AthenaClient", self.athena),
            stepfunctions=cast("SFNClient", self._callbacks),
            table=TaskTable(
                cast("DynamoDBClient", self._table), settings.task_table, settings.task_ttl_seconds
            ),
            now=self.lambdas.now,
            sleep=self.lambdas.sleep,
        )

    # Callers and operators.

    def draw_callers(self) -> None:
        """Plan one or two executions, and what else happens in this world."""
        choices, scenario = self._choices, self._scenario
        first = draw_input(scenario, choices, 1)
        self.start(1, first, 0.0)
        if choices.chance(scenario.second_execution):
            same = choices.chance(0.5)
            second = copy.deepcopy(first) if same else draw_input(scenario, choices, 2)
            self.start(2, second, choices.between(0.0, 30.0))
        if choices.chance(scenario.foreign):
            text = first.get("QueryString") if isinstance(first, dict) else None
            self.clock.after(choices.between(0.0, 5.0), partial(self._submit_foreign, text))
        if self.faults.happens("event of an unknown query"):
            self.clock.after(choices.between(0.0, 5.0), partial(self._submit_foreign, None))
        if choices.chance(scenario.update):
            self.clock.after(self._draw_moment(), self._update)
        if choices.chance(scenario.named_query_changes):
            self.clock.after(self._draw_moment(), self._change_named_query)

    def _draw_moment(self) -> float:
        return self._choices.between(0.0, self._choices.pick((1.0, 10.0, 100.0, 400.0)))

    def start(self, number: int, execution_input: Any, delay: float) -> None:
        """Plan the execution called run-NUMBER."""

        def begin() -> None:
            arn = STATE_MACHINE_ARN.replace(":stateMachine:", ":execution:") + f":run-{number}"
            execution = self.machine.start(arn, execution_input)
            self._wake_sweeps()
            self._plan_abort(execution)

        self.clock.after(delay, begin)

    def _wake_sweeps(self) -> None:
        if self._variant.scheduled:
            self._sweeps.wake()

    def _submit_foreign(self, text: str | None) -> None:
        """Somebody runs a query in the workgroup, perhaps one with the statement of an execution."""
        request = {
            "QueryString": text or f"SELECT '{SECRET} foreign'",
            "QueryExecutionContext": {"Database": self._deployment.default_database},
        }
        self.athena.submit(request, None)

    def _update(self) -> None:
        """The stack is deployed again with other settings: new executions have a new document."""
        self._deployment = replace(
            self._deployment,
            patience_seconds=self._choices.pick(self._scenario.patience),
            poll_seconds=self._choices.pick(self._scenario.poll),
            poll_growth=self._choices.pick(self._scenario.growth),
            max_attempts=self._choices.pick((1, 2, 3)),
            default_database=self._choices.pick(("sales", "marketing")),
        )
        self._note("deployment", str(self._deployment))
        self.history.deployments.append(self._deployment)
        self.machine.document = self._deployment.document(self._variant.edit_document)
        self._runtime = self._make_runtime()

    def _change_named_query(self) -> None:
        if self._choices.chance(0.5):
            self._note("athena", "the named query is edited")
            self.athena.named_queries[NAMED_QUERY] = draw_named_query(self._choices)
        else:
            self._note("athena", "the named query is deleted")
            self.athena.named_queries.pop(NAMED_QUERY, None)

    def _plan_abort(self, execution: Execution) -> None:
        if not self._abort_soon or not self._choices.chance(0.8):
            return
        self.abort(execution, self._choices.between(0.0, self._choices.pick(self._scenario.abort_within)))

    def abort(self, execution: Execution, delay: float) -> None:
        """Plan a StopExecution of the present run."""
        run = execution.run
        self._aborted.add(run)

        def stop() -> None:
            if execution.run is run:
                self.machine.stop(execution, "ABORTED")

        self.clock.after(delay, stop)

    def abort_later(self, number: int, delay: float) -> None:
        """Plan a StopExecution of the execution called run-NUMBER."""

        def stop() -> None:
            for execution in self.machine.executions:
                if execution.arn.endswith(f":run-{number}"):
                    self.machine.stop(execution, "ABORTED")

        self.clock.after(delay, stop)

    def _execution_ended(self, execution: Execution, run: Run) -> None:
        assert run.end is not None
        detail = {
            "executionArn": execution.arn,
            "stateMachineArn": STATE_MACHINE_ARN,
            "status": run.end.status,
            "redriveCount": run.redrive_count,
            "input": json.dumps(execution.input),
        }
        if run.end.error:
            detail["error"] = run.end.error
        self._bus.publish(
            {"source": "aws.states", "detail-type": EXECUTION_STATUS_CHANGE, "detail": detail},
            Subject(execution, run, len(execution.entry_times)),
        )
        if run.end.status != "SUCCEEDED" and self._redrives_left > 0:
            self._redrives_left -= 1
            self.clock.after(
                self._choices.between(0.0, self._choices.pick(self._scenario.redriven_within)),
                partial(self._redrive, execution),
            )

    def _redrive(self, execution: Execution) -> None:
        self.machine.redrive(execution)
        self._wake_sweeps()
        self._plan_abort(execution)

    def _invoke(
        self, function: str, payload: Any, execution: Execution, answer: Callable[[Outcome], None]
    ) -> None:
        subject = Subject(execution, execution.run, len(execution.entry_times))
        self.lambdas.invoke(function, payload, subject=subject, answer=answer)

    # Queries.

    def _plan_query(self, request: Mapping[str, Any], subject: Subject | None) -> Plan:
        if is_claim(request):
            return CLAIM_PLAN
        if self._plan is not None:
            return self._plan
        return draw_plan(self._scenario, self._choices, may_be_endless=self._somebody_stops(subject))

    def _somebody_stops(self, subject: Subject | None) -> bool:
        """Whether the query's execution has a deadline, or is aborted, or has ended already."""
        if subject is None:
            return False
        execution = subject.execution
        if subject.run.end is not None or subject.run is not execution.run:
            return True
        return "TimeoutSeconds" in execution.input or subject.run in self._aborted

    def _publish_query(self, query: Query, state: str, previous: str | None) -> None:
        self._publish_state(query, state, previous)
        if self.faults.happens("event untrue"):
            untrue = self._choices.pick(("SUCCEEDED", "FAILED", "CANCELLED"))
            self._publish_state(query, untrue, previous)

    def _publish_state(self, query: Query, state: str, previous: str | None) -> None:
        detail = {
            "versionId": "0",
            "currentState": state,
            "statementType": "DML",
            "queryExecutionId": query.id,
            "workgroupName": WORK_GROUP,
            "sequenceNumber": str(len(query.history)),
        }
        if previous is not None:
            detail["previousState"] = previous
        self._bus.publish(
            {"source": "aws.athena", "detail-type": QUERY_STATE_CHANGE, "detail": detail}, query.subject
        )
