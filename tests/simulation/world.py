"""One schedule: a world is drawn, runs until nothing is left to happen, and leaves a history to check."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

from functions import canceller, checker, executor
from functions.observability import lambda_handler, logger, metrics
from functions.runtime import Runtime
from functions.settings import Settings
from functions.task_table import TaskTable
from infra.document import render_document
from tests.simulation.athena import Athena, End, Plan, Query
from tests.simulation.choices import Choices
from tests.simulation.clock import BEGINNING, Clock, RanTooLong
from tests.simulation.dynamodb import DynamoDb
from tests.simulation.events import RULES, EventBus, Rules
from tests.simulation.faults import Faults, draw_fault_profile
from tests.simulation.interpreter import Execution, Quirks, Run, StateMachine, read_document
from tests.simulation.lambdas import Lambdas, Outcome
from tests.simulation.stepfunctions import StepFunctions

if TYPE_CHECKING:
    from logging import StreamHandler

    from mypy_boto3_athena import AthenaClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_stepfunctions import SFNClient


# In every statement, and nowhere else: where it turns up in a log line, SQL has leaked.
SECRET = "secret-literal"
MOST_ACTIONS = 20_000
NAMED_QUERY = "0123abcd-named"


@dataclass(frozen=True)
class Subject:
    """What an invocation is for: an execution, its run, and its entry into "Start query", counted from 1.

    These are the simulation's own records, which the functions never see.
    """

    execution: Execution
    run: Run
    entry: int


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """The stack's settings, in seconds."""

    patience: int
    poll: int
    back_off: int


@dataclass(kw_only=True)
class History:
    """All that happened. `timeline` holds `(epoch seconds, who, what)`, `logs` the functions' log lines,
    `told` the `(query id, end)` of each callback. `prompt` is how many seconds an undisturbed callback takes
    at most: an event's way, a cold function, its calls, and clocks that disagree.
    """

    intervals: Intervals
    rules: Rules
    clock: Clock
    faults: Faults
    lambdas: Lambdas
    athena: Athena
    bus: EventBus
    machine: StateMachine
    busy: tuple[float, float]
    timeline: list[tuple[float, str, str]]
    logs: list[str]
    told: list[tuple[str, str]]
    prompt: float
    never_rested: str = ""

    def text(self) -> str:
        """The timeline, one line for each thing that happened, in seconds from the beginning."""
        intervals, profile = self.intervals, self.faults.profile
        head = [
            f"{intervals}",
            f"level {profile.level}, rate {profile.rate}, until {profile.until - BEGINNING:.0f} s: "
            + (", ".join(sorted(profile.kinds)) or "no faults"),
            *(f"{execution.arn} {json.dumps(execution.input)}" for execution in self.machine.executions),
        ]
        lines = [f"{time - BEGINNING:10.3f}  {who:<14} {what}" for time, who, what in self.timeline]
        return "\n".join([*head, "", *lines])


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What a mutant changes of the world, apart from the functions' code."""

    rules: Rules = field(default_factory=lambda: RULES)
    edit_document: Callable[[Any], None] | None = None


def run_schedule(choices: Choices, variant: Variant = Variant()) -> History:
    """Draw a world, and run it until it rests."""
    with _observed() as logs:
        world = _World(choices, variant, logs)
        try:
            world.clock.run(most_actions=MOST_ACTIONS)
        except RanTooLong as busy:
            world.history.never_rested = str(busy)
    return world.history


class _World:
    def __init__(self, choices: Choices, variant: Variant, logs: list[str]) -> None:
        self._choices = choices
        self.clock = clock = Clock()
        timeline: list[tuple[float, str, str]] = []

        def note(who: str, what: str) -> None:
            timeline.append((clock.now, who, what))

        self._note = note
        self._patience = choices.pick((20, 60, 300))
        intervals = Intervals(patience=self._patience, poll=choices.pick((30, 5)), back_off=10)
        self._intervals = intervals
        self.faults = Faults(draw_fault_profile(choices, clock), choices, clock)
        # In some worlds events often come before the token that they are for, or find an executor at work.
        slow_executor = choices.chance(0.2)
        self.lambdas = Lambdas(
            clock=clock,
            choices=choices,
            faults=self.faults,
            note=note,
            lags=choices.pick(((0.0,), (0.0, -0.05, 0.05))),
            slowest_start=choices.pick((0.15, 0.01)),
            slowest_call={"executor": 0.3 if slow_executor else 0.06, "checker": 0.06, "canceller": 0.06},
        )
        self.bus = EventBus(
            rules=variant.rules,
            clock=clock,
            choices=choices,
            faults=self.faults,
            lambdas=self.lambdas,
            note=note,
            slowest_event=choices.pick((0.3, 0.01)),
        )
        busy_from = clock.now + choices.pick((0.0, 0.0, 30.0))
        busy = (busy_from, busy_from + choices.pick((0.0, 0.0, 0.0, 20.0, 200.0)))
        self.athena = Athena(
            clock=clock,
            choices=choices,
            faults=self.faults,
            lambdas=self.lambdas,
            note=note,
            publish=self._publish_query,
            foresee=self._publish_state,
            plan_query=self._plan_query,
            named_queries={NAMED_QUERY: {"QueryString": f"SELECT '{SECRET} named'", "Database": "d"}},
            busy=busy,
        )
        self.machine = StateMachine(
            _document(intervals, variant.edit_document),
            clock=clock,
            choices=choices,
            note=note,
            invoke=self._invoke,
            ended=self._execution_ended,
            quirks=Quirks(
                redrive_keeps_entered_time=choices.chance(0.5),
                redrive_count_from_the_start=choices.chance(0.5),
            ),
        )
        self._callbacks = StepFunctions(self.machine, self.lambdas)
        self.lambdas.handlers = self._handlers()
        self.history = History(
            intervals=intervals,
            rules=variant.rules,
            clock=clock,
            faults=self.faults,
            lambdas=self.lambdas,
            athena=self.athena,
            bus=self.bus,
            machine=self.machine,
            busy=busy,
            timeline=timeline,
            logs=logs,
            told=self._callbacks.told,
            prompt=2.5 if slow_executor else 1.0,
        )
        self._aborts: dict[str, int] = {}
        self._redrives_left = choices.pick((0, 0, 1, 2))
        self._abort_soon = choices.chance(0.3)
        self._start_executions()

    def _handlers(self) -> Mapping[str, Callable[[Any, Any], Any]]:
        runtime = Runtime(
            settings=SETTINGS[self._intervals.poll],
            athena=cast("AthenaClient", self.athena),
            stepfunctions=cast("SFNClient", self._callbacks),
            table=TaskTable(cast("DynamoDBClient", DynamoDb(self.lambdas)), "tasks", 2_592_000),
            now=self.lambdas.now,
        )
        return {
            "executor": lambda_handler(lambda event: executor.run(event, runtime)),
            "checker": lambda_handler(lambda event: checker.run(event, runtime)),
            "canceller": lambda_handler(lambda event: canceller.run(event, runtime)),
        }

    # Executions: what callers and operators do.

    def _start_executions(self) -> None:
        first = self._draw_input(1)
        self._start_later(1, first, 0.0)
        if self._choices.chance(0.15):
            same = self._choices.chance(0.5)
            self._start_later(
                2, copy.deepcopy(first) if same else self._draw_input(2), self._choices.between(0.0, 30.0)
            )
        if self.faults.happens("event of a stranger"):
            request = {"QueryString": f"SELECT '{SECRET} of a stranger'"}
            self.clock.after(self._choices.between(0.0, 5.0), lambda: self._submit(request))

    def _submit(self, request: Mapping[str, Any]) -> None:
        self.athena.submit(request, None)

    def _start_later(self, number: int, execution_input: Any, delay: float) -> None:
        def start() -> None:
            execution = self.machine.start(
                f"arn:aws:states:::execution:the-machine:run-{number}", execution_input
            )
            self._plan_abort(execution)

        self.clock.after(delay, start)

    def _draw_input(self, number: int) -> Any:
        pick, chance = self._choices.pick, self._choices.chance
        if chance(0.03):
            return pick(
                (
                    {},
                    [],
                    "SELECT 1",
                    {"QueryString": " ", "TimeoutSeconds": "soon"},
                    {"QueryString": "SELECT 1", "TimeoutSeconds": 0},
                    {"QueryString": "SELECT 1", "TimeoutSeconds": [1, 2]},
                    {"QueryString": "SELECT 1", "Sql": SECRET},
                    {"QueryString": "SELECT 1", "NamedQueryId": NAMED_QUERY},
                )
            )
        request: dict[str, Any] = {}
        if chance(0.05):
            request["NamedQueryId"] = pick((NAMED_QUERY, "0000-absent"))
        else:
            verb = pick(
                ("SELECT", "SELECT", "INSERT INTO t SELECT", "SELECT REFUSED" if chance(0.1) else "SELECT")
            )
            request["QueryString"] = f"{verb} '{SECRET} {number}'"
        if chance(0.3):
            request["TimeoutSeconds"] = pick((1, 5, 40, self._patience, 400))
        if chance(0.5):
            request["MaxAttempts"] = pick((1, 3))
        if chance(0.3):
            request["Idempotent"] = pick((True, False))
        if chance(0.1):
            request["PreviewRows"] = 1
        return request

    def _plan_abort(self, execution: Execution) -> None:
        if not self._abort_soon or not self._choices.chance(0.8):
            return
        run, status = execution.run, self._choices.pick(("ABORTED", "ABORTED", "TIMED_OUT"))
        delay = self._choices.between(0.0, self._choices.pick((1.0, 1.0, 10.0, 60.0, 1.2 * self._patience)))
        self._aborts[execution.arn] = run.redrive_count

        def abort() -> None:
            if execution.run is run:
                self.machine.stop(execution, status)

        self.clock.after(delay, abort)

    def _execution_ended(self, execution: Execution, run: Run) -> None:
        assert run.end is not None
        subject = Subject(execution, run, len(execution.entry_times))
        self.bus.publish(
            {
                "source": "aws.states",
                "detail-type": "Step Functions Execution Status Change",
                "detail": {
                    "executionArn": execution.arn,
                    "stateMachineArn": "the-machine",
                    "status": run.end.status,
                    "redriveCount": run.redrive_count,
                },
            },
            subject,
        )
        if run.end.status != "SUCCEEDED" and self._redrives_left > 0:
            self._redrives_left -= 1
            self.clock.after(
                self._choices.between(0.0, self._choices.pick((0.5, 5.0, 100.0))),
                partial(self._redrive, execution),
            )

    def _redrive(self, execution: Execution) -> None:
        self.machine.redrive(execution)
        self._plan_abort(execution)

    def _invoke(
        self, function: str, payload: Any, execution: Execution, answer: Callable[[Outcome], None]
    ) -> None:
        subject = Subject(execution, execution.run, len(execution.entry_times))
        self.lambdas.invoke(function, payload, subject=subject, answer=answer)

    # Queries: what Athena does.

    def _plan_query(self, subject: Subject | None) -> Plan:
        pick, between = self._choices.pick, self._choices.between
        seconds = pick((0.0, 0.05, 0.2, 2.0, 2.0, 20.0, self._patience + 3 * self._intervals.poll))
        if subject is not None and self._somebody_stops(subject):
            seconds = pick((seconds, 20_000.0))
        ends_after = seconds if seconds > 1_000 else between(0.0, seconds)
        end: End = pick(
            (
                "success",
                "success",
                "success",
                "user error",
                "transient failure",
                "transient failure",
                pick(("cancelled by somebody", "failed, then on")),
            )
        )
        transient = end == "transient failure" or (end == "failed, then on" and self._choices.chance(0.5))
        category, retryable = pick(((1, False), (2, True), (3, True))) if transient else (2, False)
        return Plan(
            runs_after=ends_after * between(0.0, 0.9),
            requeued=self._choices.chance(0.1),
            ends_after=ends_after,
            end=end,
            category=category,
            retryable=retryable,
        )

    def _somebody_stops(self, subject: Subject) -> bool:
        """Whether a query that never ends is fair: its execution has a deadline, or an abort before it."""
        execution = subject.execution
        if subject.run.end is not None or subject.run is not execution.run:
            return True
        return (
            "TimeoutSeconds" in execution.input
            or self._aborts.get(execution.arn) == subject.run.redrive_count
        )

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
            "workgroupName": "the-work-group",
            "sequenceNumber": str(len(query.history)),
        }
        if previous is not None:
            detail["previousState"] = previous
        self.bus.publish(
            {"source": "aws.athena", "detail-type": "Athena Query State Change", "detail": detail},
            query.subject,
        )


SETTINGS = {
    poll: Settings(
        task_table="tasks",
        work_group="the-work-group",
        region="eu-west-1",
        state_machine_arn="arn:aws:states:eu-west-1:123456789012:stateMachine:queries",
        default_database="d",
        default_catalog="c",
        max_attempts=2,
        usd_per_terabyte=5.0,
        bytes_scanned_limit=1_000_000_000,
        poll_seconds=poll,
        poll_growth=0.1,
        task_ttl_days=30,
    )
    for poll in (5, 30)
}


def _document(intervals: Intervals, edit: Callable[[Any], None] | None) -> Any:
    document = _read_document(intervals)
    if edit is not None:
        document = copy.deepcopy(document)
        edit(document)
    return document


@cache
def _read_document(intervals: Intervals) -> Any:
    return read_document(
        render_document(),
        {
            "ExecutorArn": "executor",
            "CheckerArn": "checker",
            "PatienceSeconds": intervals.patience,
            "BackOffSeconds": intervals.back_off,
        },
    )


class _Lines:
    """A stream for a logging handler."""

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append

    def flush(self) -> None:
        pass


@contextmanager
def _observed() -> Iterator[list[str]]:
    """Collect the functions' log lines; drop their metrics, which are names and numbers."""
    lines: list[str] = []
    handler = cast("StreamHandler[Any]", logger.handlers[0])
    before = handler.setStream(_Lines(lines))
    try:
        with patch.object(metrics, "add_metric", _drop):
            yield lines
    finally:
        handler.setStream(before)


def _drop(*_arguments: Any) -> None:
    pass
