"""A batch on a virtual clock: the real planner and reporter, and models of all that is around them.

The models are Step Functions (the batch, its Map Run, child executions, executions of queries), S3,
EventBridge and Lambda's retries. Time passes while a function waits for the answer of a call, so queries
end, executions are stopped and other invocations run in between. `run_batches` runs a batch, and then runs it
again with the last manifest.
"""

import heapq
import io
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from botocore.exceptions import ClientError

from functions import planner, reporter
from functions.batch_files import Files
from functions.batch_runtime import BatchRuntime, BatchSettings
from functions.events import EXECUTION_STATUS_CHANGE, SCHEDULED_EVENT, UNSUCCESSFUL_STATUSES
from infra.document import BATCH_SOURCE, render_document
from tests.simulation.choices import Choices
from tests.simulation.clock import BEGINNING
from tests.simulation.lambdas import ASYNC_RETRIES

ARN = "arn:aws:states:eu-west-1:123456789012"
SETTINGS = BatchSettings(
    region="eu-west-1",
    task_table="tasks",
    state_machine_arn=f"{ARN}:stateMachine:queries",
    batch_state_machine_arn=f"{ARN}:stateMachine:queries-batch",
    batches_bucket="bucket",
    batches_prefix="batches/",
    usd_per_terabyte=5.0,
)
DOCUMENT = json.loads(render_document(BATCH_SOURCE).replace("${BatchConcurrency}", "3"))
CONCURRENCY = 3
SWEEP_SECONDS = 300.0
# Random faults end after so many seconds, and a batch is judged so many seconds after that.
FAULTS_UNTIL, REST = 1_500.0, 14_000.0
MOST_RUNS = 4
LONG = 6_000.0
MOST_ACTIONS = 20_000

# A Map Run whose parent was stopped may go on for as long, and a start be on its way.
_RUNS_ON, _ON_ITS_WAY = 5_000.0, 50.0
# DescribeExecution is eventually consistent.
_SHOWN_WITHIN = 3.0


class Crashed(BaseException):
    """The function's process has died."""


def refusal(operation: str, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, operation)


@dataclass(kw_only=True)
class Execution:
    """Of a query, a child or a batch. `shown` is when DescribeExecution shows its end."""

    arn: str
    document: Any
    started: float
    status: str = "RUNNING"
    ended: float | None = None
    shown: float = 0.0
    redrives: int = 0
    error: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    # Athena runs the query until then; for an execution of a query.
    athena_until: float | None = None
    on_end: Callable[[], None] | None = None

    @property
    def name(self) -> str:
        return self.arn.rpartition(":")[2]


@dataclass(kw_only=True)
class Item:
    """A query of the input, and how its next executions will go: each `(outcome, seconds)`."""

    document: dict[str, Any]
    plan: list[tuple[str, float]]


@dataclass(kw_only=True)
class BatchRun:
    """One execution of the batch state machine, with what it was to run."""

    arn: str
    document: dict[str, Any]
    items: list[Item]
    machine: Execution
    # When random faults end.
    faults_until: float
    map_started: float | None = None
    map_ended: float | None = None
    children: list[Execution] = field(default_factory=list)
    pending: list[dict[str, Any]] = field(default_factory=list)
    failed: int = 0
    most_at_once: int = 0
    plan: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None
    # The manifest as it was when it was first marked final, and when.
    final: tuple[float, bytes] | None = None


class World:
    def __init__(self, choices: Choices) -> None:
        self.now = BEGINNING
        self.choices = choices
        self.objects: dict[str, bytes] = {}
        self.metadata: dict[str, Mapping[str, str]] = {}
        self.executions: dict[str, Execution] = {}
        self.runs: list[BatchRun] = []
        self.timeline: list[tuple[float, str]] = []
        self.rate = choices.pick([0.0, 0.02, 0.1])
        self.faults_until = self.now + FAULTS_UNTIL
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self._actions = 0
        self._depth = 0

    def text(self) -> str:
        """The timeline, one line for each thing that happened, in seconds from the beginning."""
        return "\n".join(f"{time - BEGINNING:10.3f}  {what}" for time, what in self.timeline)

    def note(self, text: str) -> None:
        self.timeline.append((self.now, text))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._serial), action))

    def advance(self, until: float) -> None:
        """Let everything happen that is due by then."""
        while self._due and self._due[0][0] <= until:
            self._actions += 1
            assert self._actions < MOST_ACTIONS, "the schedule does not come to rest"
            at, _, action = heapq.heappop(self._due)
            # An action that is due may have waited for a call, so time does not go back.
            self.now = max(self.now, at)
            action()
        self.now = max(self.now, until)

    def fault(self, scale: float = 1.0) -> bool:
        return self.now < self.faults_until and self.choices.chance(self.rate * scale)

    def call(self, operation: str, effect: Callable[[], Any]) -> Any:
        """A function's call of AWS: it takes time, and may fail before or after its effect."""
        if self._depth < 3:
            self._depth += 1
            self.advance(self.now + self.choices.between(0.01, 0.5))
            self._depth -= 1
        if self.fault():
            kind = self.choices.pick(["throttled", "crash before", "crash after", "failed after"])
            self.note(f"{operation}: {kind}")
            if kind == "throttled":
                raise refusal(operation, "ThrottlingException")
            if kind == "crash before":
                raise Crashed
            effect()
            if kind == "crash after":
                raise Crashed
            raise refusal(operation, "InternalServerError")
        return effect()

    # The functions

    @property
    def runtime(self) -> BatchRuntime:
        return BatchRuntime(
            settings=SETTINGS,
            s3=cast("Any", _S3(self)),
            stepfunctions=cast("Any", _StepFunctions(self)),
            athena=cast("Any", SimpleNamespace(get_query_execution=self._get_query)),
            table=cast("Any", SimpleNamespace(find_executions=self._find_queries)),
            now=lambda: self.now,
        )

    def invoke(self, function: Callable[[Any, BatchRuntime], Any], event: Any) -> tuple[bool, Any]:
        """Whether it returned, and what."""
        try:
            return True, function(event, self.runtime)
        except (Crashed, Exception) as fault:  # noqa: BLE001 - whatever it is, the caller retries
            self.note(f"{function.__module__} failed: {type(fault).__name__} {fault}")
            return False, None

    def deliver(self, event: Any, retries: Sequence[float] = ASYNC_RETRIES) -> None:
        returned, _ = self.invoke(reporter.run, event)
        if not returned and retries:
            self.after(retries[0], lambda: self.deliver(event, retries[1:]))

    def sweep(self) -> None:
        self.after(SWEEP_SECONDS, self.sweep)
        self.deliver({"detail-type": SCHEDULED_EVENT})

    def _get_query(self, *, QueryExecutionId: str) -> Any:  # noqa: N803 - as in the API
        one = self.executions[QueryExecutionId.removeprefix("query of ")]
        running = one.athena_until is None or one.athena_until > self.now
        status = {"State": "RUNNING" if running else "CANCELLED"}
        return self.call("GetQueryExecution", lambda: {"QueryExecution": {"Status": status}})

    def _find_queries(self, ids: Sequence[str]) -> dict[str, Any]:
        return {one: SimpleNamespace(newest_query=SimpleNamespace(query_id=f"query of {one}")) for one in ids}

    # Executions

    def end(self, one: Execution, status: str, error: str | None = None) -> None:
        if one.status != "RUNNING":
            return
        one.status, one.error, one.ended = status, error, self.now
        one.shown = self.now + (self.choices.between(0, _SHOWN_WITHIN) if self.rate else 0.0)
        self.note(f"{one.name} {status} {error or ''}")
        # The canceller stops the query of an aborted execution.
        lag = self.choices.between(0.1, 90) if status == "ABORTED" else 0.0
        one.athena_until = self.now + lag
        if one.on_end:
            one.on_end()

    def start_query(self, run: BatchRun, name: str, document: dict[str, Any]) -> Execution | None:
        """Start a query's execution, or find the one of this name. None if it has ended."""
        arn = f"{SETTINGS.state_machine_arn.replace('stateMachine', 'execution')}:{name}"
        if known := self.executions.get(arn):
            return known if known.status == "RUNNING" else None
        item = next(one for one in run.items if one.document == document["Input"])
        outcome, seconds = item.plan.pop(0) if item.plan else ("FAILED", 1.0)
        parent = f"{SETTINGS.batch_state_machine_arn.replace('stateMachine', 'execution')}/Queries:1"
        one = Execution(
            arn=arn,
            document={**document["Input"], "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": parent},
            started=self.now,
        )
        self.executions[arn] = one
        self.note(f"{name} starts")
        error = None if outcome == "SUCCEEDED" else "AthenaQuery.Failed"
        one.result = {"QueryId": f"q{len(self.executions)}", "Attempts": 1, "DataScannedInBytes": 1}
        self.after(seconds, lambda: self.end(one, outcome, error))
        return one

    # The batch

    def start_batch(self, name: str, items: list[Item], document: dict[str, Any]) -> BatchRun:
        arn = f"{SETTINGS.batch_state_machine_arn.replace('stateMachine', 'execution')}:{name}"
        machine = Execution(arn=arn, document=document, started=self.now)
        run = BatchRun(
            arn=arn, document=document, items=items, machine=machine, faults_until=self.faults_until
        )
        self.executions[arn] = machine
        self.runs.append(run)
        machine.on_end = lambda: self._batch_ended(run)
        self.after(0, lambda: self._task(run, "Plan", lambda: self._plan(run), lambda: self._check_plan(run)))
        if self.choices.chance(0.4):
            status = self.choices.pick(["ABORTED", "TIMED_OUT"])
            self.after(
                self.choices.between(0, self.choices.pick([60, 400])), lambda: self.end(machine, status)
            )
        return run

    def _task(
        self, run: BatchRun, state: str, attempt: Callable[[], bool], then: Callable[[], None], tries: int = 0
    ) -> None:
        """A Task with the retries of the document."""
        redrives = run.machine.redrives
        if run.machine.status != "RUNNING":
            return
        done = attempt()
        if run.machine.status != "RUNNING" or run.machine.redrives != redrives:
            return
        retry = DOCUMENT["States"][state]["Retry"][0]
        if done:
            then()
        elif tries < retry["MaxAttempts"]:
            pause = min(retry["IntervalSeconds"] * retry["BackoffRate"] ** tries, retry["MaxDelaySeconds"])
            self.after(pause, lambda: self._task(run, state, attempt, then, tries + 1))
        else:
            self.end(run.machine, "FAILED", "ServiceFault")

    def _plan(self, run: BatchRun) -> bool:
        event = {"Execution": {"Id": run.arn, "Input": run.document}}
        returned, run.plan = self.invoke(planner.run, event)
        return returned

    def _check_plan(self, run: BatchRun) -> None:
        if "Refused" in run.plan:
            self.end(run.machine, "FAILED", "AthenaBatch.InvalidInput")
        elif run.plan["ToRun"] == 0:
            self._report(run)
        else:
            self._start_map(run)

    def _start_map(self, run: BatchRun) -> None:
        if run.map_started is None:
            lines = self.objects[run.plan["ItemsKey"]].splitlines()
            run.pending = [json.loads(line) for line in lines]
            run.map_started = self.now
        else:
            # A redrive: children that did not succeed run again, and the others have not started yet.
            run.map_ended, run.failed = None, 0
            for child in run.children:
                if child.status != "SUCCEEDED":
                    child.status, child.redrives = "REDRIVEN", child.redrives + 1
        self._fill(run)

    def _active(self, run: BatchRun) -> int:
        return sum(child.status == "RUNNING" for child in run.children)

    def _fill(self, run: BatchRun) -> None:
        """Start children up to the limit, and end the map when nothing is left."""
        if run.map_ended is not None:
            return
        again = [child for child in run.children if child.status == "REDRIVEN"]
        while self._active(run) < CONCURRENCY and (again or run.pending):
            if again:
                child = again.pop(0)
                child.status, child.ended = "RUNNING", None
            else:
                number = len(run.children)
                child = Execution(
                    arn=f"{SETTINGS.batch_state_machine_arn}/Queries:{run.machine.name}{number}".replace(
                        ":stateMachine:", ":execution:"
                    ),
                    document=run.pending.pop(0),
                    started=self.now,
                )
                run.children.append(child)
                self.executions[child.arn] = child
            self._start_child(run, child)
        run.most_at_once = max(run.most_at_once, self._active(run))
        if self._active(run) == 0:
            run.map_ended = self.now
            if run.machine.status == "RUNNING":
                self._report(run)

    def _start_child(self, run: BatchRun, child: Execution) -> None:
        redrive = child.redrives
        name = child.document["Name"] + (f"-r{redrive}" if redrive else "")

        def begin() -> None:
            # A start that is on its way when its child is stopped may still take effect.
            if child.redrives != redrive or (child.status != "RUNNING" and not self.choices.chance(0.5)):
                return
            query = self.start_query(run, name, child.document)
            if query is None:
                self._child_ended(run, child, "FAILED")
                return
            if self.fault(0.5):
                # The answer of the start is lost for good: the child fails, the query goes on.
                self._child_ended(run, child, "FAILED")
                return
            query.on_end = lambda: self.after(
                self.choices.between(0, 1),
                lambda: (
                    self._child_ended(run, child, "SUCCEEDED" if query.status == "SUCCEEDED" else "FAILED")
                    if child.redrives == redrive
                    else None
                ),
            )

        self.after(self.choices.between(0.05, _ON_ITS_WAY if self.rate else 1.0), begin)

    def _child_ended(self, run: BatchRun, child: Execution, status: str) -> None:
        if child.status != "RUNNING":
            return
        child.status, child.ended = status, self.now
        run.failed += status == "FAILED"
        if run.failed > run.plan["ToleratedFailureCount"] and run.map_ended is None:
            run.map_ended = self.now
            self._abort_children(run)
            self.end(run.machine, "FAILED", "States.ExceedToleratedFailureThreshold")
        else:
            self._fill(run)

    def _abort_children(self, run: BatchRun) -> None:
        """Step Functions stops children, and their executions by best effort."""
        for child in run.children:
            if child.status == "RUNNING":
                self.stop(child.arn)
                name = child.document["Name"] + (f"-r{child.redrives}" if child.redrives else "")
                query = f"{SETTINGS.state_machine_arn.replace('stateMachine', 'execution')}:{name}"
                if query in self.executions and not (self.rate and self.choices.chance(0.4)):
                    self.end(self.executions[query], "ABORTED")

    def stop(self, arn: str, error: str | None = None) -> None:
        one = self.executions[arn]
        if arn.startswith(f"{ARN}:execution:queries-batch/"):
            if one.status == "RUNNING":
                one.status, one.ended = "ABORTED", self.now
                [run] = [run for run in self.runs if one in run.children]
                self._fill(run)
        else:
            self.end(one, "ABORTED", error)

    def _report(self, run: BatchRun) -> None:
        def attempt() -> bool:
            returned, run.output = self.invoke(reporter.run, {"ExecutionId": run.arn})
            return returned

        self._task(run, "Report", attempt, lambda: self.end(run.machine, "SUCCEEDED"))

    def _batch_ended(self, run: BatchRun) -> None:
        if run.machine.status == "SUCCEEDED":
            return
        if run.map_started is not None and run.map_ended is None:
            if self.rate and self.choices.chance(0.3):
                # The Map Run goes on for a while.
                self.after(self.choices.between(0, _RUNS_ON), lambda: self._end_map(run))
            else:
                self._end_map(run)
        detail = {
            "executionArn": run.arn,
            "status": run.machine.status,
            "redriveCount": run.machine.redrives,
        }
        event = {"detail-type": EXECUTION_STATUS_CHANGE, "detail": detail}
        if not self.fault(3):
            self.after(self.choices.between(0.05, 20), lambda: self.deliver(event))
        if self.fault(3):
            self.after(self.choices.between(0.05, 120), lambda: self.deliver(event))
        if run.map_started is not None and run.machine.redrives < 2 and self.choices.chance(0.4):
            self.after(self.choices.between(1, 900), lambda: self._redrive(run))

    def _end_map(self, run: BatchRun) -> None:
        if run.map_ended is None and run.machine.status != "RUNNING":
            run.map_ended = self.now
            self._abort_children(run)

    def _redrive(self, run: BatchRun) -> None:
        machine = run.machine
        if machine.status not in UNSUCCESSFUL_STATUSES:
            return
        machine.status, machine.ended, machine.error = "RUNNING", None, None
        machine.redrives += 1
        run.final = None
        self.note(f"{machine.name} redriven")
        if (
            run.map_ended is not None
            and not any(child.status != "SUCCEEDED" for child in run.children)
            and not run.pending
        ):
            self._report(run)
        else:
            self._start_map(run)


@dataclass
class _S3:
    world: World

    def get_object(self, *, Key: str, **_: Any) -> Any:  # noqa: N803 - as in the API
        def effect() -> Any:
            if Key not in self.world.objects:
                raise refusal("GetObject", "AccessDenied")
            return {"Body": io.BytesIO(self.world.objects[Key])}

        return self.world.call("GetObject", effect)

    def head_object(self, *, Key: str, **_: Any) -> Any:  # noqa: N803
        def effect() -> Any:
            if Key not in self.world.objects:
                raise refusal("HeadObject", "403")
            return {"Metadata": self.world.metadata[Key]}

        return self.world.call("HeadObject", effect)

    def put_object(self, *, Key: str, Body: bytes, Metadata: Any, **_: Any) -> None:  # noqa: N803
        def effect() -> None:
            self.world.objects[Key], self.world.metadata[Key] = Body, Metadata
            for run in self.world.runs:
                is_final = Metadata.get("final") == "true"
                if Key == Files.of(run.arn, SETTINGS).manifest:
                    self.world.note(f"manifest of {run.machine.name} written, final: {is_final}")
                    if is_final and run.final is None:
                        run.final = (self.world.now, Body)

        self.world.call("PutObject", effect)


@dataclass
class _StepFunctions:
    world: World

    def describe_execution(self, *, executionArn: str) -> Any:  # noqa: N803
        def effect() -> Any:
            one = self.world.executions.get(executionArn)
            if one is None:
                raise refusal("DescribeExecution", "ExecutionDoesNotExist")
            return self._described(one)

        return self.world.call("DescribeExecution", effect)

    def _described(self, one: Execution) -> Any:
        shown = one.status != "RUNNING" and one.shown <= self.world.now
        answer: dict[str, Any] = {
            "executionArn": one.arn,
            "name": one.name,
            "status": one.status if shown else "RUNNING",
            "startDate": datetime.fromtimestamp(one.started, UTC),
            "redriveCount": one.redrives,
            "input": json.dumps(one.document),
        }
        if shown and one.ended is not None:
            answer["stopDate"] = datetime.fromtimestamp(one.ended, UTC)
            if one.status == "SUCCEEDED":
                answer["output"] = json.dumps(one.result)
            elif one.error:
                answer["error"] = one.error
                reported = one.error.startswith("AthenaQuery.")
                answer["cause"] = json.dumps(one.result) if reported else "stopped"
        return answer

    def stop_execution(self, *, executionArn: str, error: str, cause: str) -> None:  # noqa: N803
        assert cause
        self.world.call("StopExecution", lambda: self.world.stop(executionArn, error))

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=lambda **filters: self._pages(operation, filters))

    def _pages(self, operation: str, filters: Mapping[str, Any]) -> Iterator[Any]:
        def effect() -> Any:
            if operation == "list_map_runs":
                return {
                    "mapRuns": [
                        {
                            "mapRunArn": run.arn,
                            **({} if run.map_ended is None else {"stopDate": datetime.now(UTC)}),
                        }
                        for run in self.world.runs
                        if run.arn == filters["executionArn"] and run.map_started is not None
                    ]
                }
            runs = self.world.runs
            if "mapRunArn" in filters:
                found = [child for run in runs if run.arn == filters["mapRunArn"] for child in run.children]
            else:
                found = [run.machine for run in runs]
            answers = map(self._described, found)
            return {"executions": [one for one in answers if one["status"] == filters["statusFilter"]]}

        yield self.world.call(operation, effect)


def run_batches(choices: Choices) -> World:
    """A batch, and its re-runs with the last manifest."""
    world = World(choices)
    items = [_draw_item(choices, number) for number in range(int(choices.between(1, 8)))]
    world.after(choices.between(1, SWEEP_SECONDS), world.sweep)
    previous: str | None = None
    for number in range(MOST_RUNS):
        document: dict[str, Any] = {"Batch": "night", "Queries": [{**item.document} for item in items]}
        if choices.chance(0.4):
            document["ToleratedFailureCount"] = int(choices.between(0, 4))
        if previous:
            document["PreviousManifest"] = f"s3://bucket/{previous}"
        run = world.start_batch(f"night{number}", items, document)
        world.advance(world.now + FAULTS_UNTIL + REST)
        key = Files.of(run.arn, SETTINGS).manifest
        if key not in world.objects:
            break
        previous = key
        if choices.chance(0.3):
            # The user corrects a query between two runs.
            changed = choices.pick(items)
            changed.document["QueryString"] += " "
            changed.plan = [("SUCCEEDED", 1.0)]
        world.faults_until = world.now + FAULTS_UNTIL
    return world


def _draw_item(choices: Choices, number: int) -> Item:
    outcomes = ["SUCCEEDED", "SUCCEEDED", "FAILED"]
    # Some run for longer than it may take to stop them.
    longest = LONG if choices.chance(0.15) else 200.0
    plan = [(choices.pick(outcomes), choices.between(longest / 2, longest)) for _ in range(MOST_RUNS)]
    return Item(document={"QueryString": f"SELECT {number}"}, plan=plan)
