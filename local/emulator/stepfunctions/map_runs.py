"""Distributed Map: a Map Run and its child executions.

What AWS documents of the end of a Map Run is loose: it may start more child executions after its tolerated
failures are exceeded, and may run on after its parent was stopped. Here it does both for `_LATE_SECONDS`.
"""

import contextvars
import json
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from ministack.core.responses import error_response_json, json_response, now_iso
from ministack.services import stepfunctions as ministack
from ministack.services.stepfunctions import _ExecutionError as TaskError

from local.emulator import roles
from local.emulator.stepfunctions import executions, map_items, map_results, tasks
from local.emulator.stepfunctions.executions import Ended, Run, check_size

# Child executions of a Map Run at a time. Each has a thread; on AWS the limit is 10,000.
_MOST_CHILDREN = 100
_LATE_SECONDS = 0.5
_EXPRESS_SECONDS = 300
_BATCHER = {"MaxItemsPerBatch", "MaxItemsPerBatchPath", "BatchInput"}
_STATUSES = {
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "TIMED_OUT": "timedOut",
    "ABORTED": "aborted",
}
_FAILED = {"failed", "timedOut"}

_ministack_run_map_items = ministack._run_map_items


def install() -> None:
    ministack._run_map_items = _run_map
    ministack._list_map_runs = _list
    ministack._describe_map_run = _describe
    ministack._update_map_run = _update


@dataclass(eq=False)
class Batch:
    """The items of one child execution; without ItemBatcher this is one item."""

    first: int
    items: list[Any]
    child: Run | None = None
    # Its child was unsuccessful in an earlier attempt of the Map Run.
    awaits_redrive: bool = False

    @property
    def status(self) -> str:
        """A member of MapRunExecutionCounts."""
        if self.awaits_redrive:
            return "pendingRedrive"
        return _STATUSES[self.child.record["status"]] if self.child else "pending"


@dataclass
class Limits:
    """What UpdateMapRun can change. A tolerance that is None is not given."""

    max_concurrency: int
    tolerated_count: int | None
    tolerated_percentage: float | None


@dataclass(eq=False, kw_only=True)
class MapRun:
    """The child executions of one entry of a Distributed Map state."""

    arn: str
    parent: Run
    state: dict[str, Any]
    state_input: Any
    context: dict[str, Any]
    limits: Limits
    writer: map_results.Writer
    items: list[Any] | None
    batches: list[Batch] = field(default_factory=list)
    status: str = "RUNNING"
    start_date: str = field(default_factory=now_iso)
    stop_date: str | None = None
    output: Any = None
    error: TaskError | None = None
    results_written: bool = False
    redrive_count: int = 0
    redrive_date: str | None = None
    _aborted: bool = False
    _total: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def role_arn(self) -> str:
        return str(self.context["Execution"]["RoleArn"])

    @property
    def machine_arn(self) -> str:
        """The ARN that the child executions name as their state machine."""
        machine, _, label = self.arn.replace(":mapRun:", ":stateMachine:").rpartition(":")[0].partition("/")
        return f"{machine}/{label}"

    @property
    def express(self) -> bool:
        config = self.state["ItemProcessor"]["ProcessorConfig"]
        return bool(config.get("ExecutionType", "STANDARD") == "EXPRESS")

    def notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def abort(self) -> None:
        """Called when the parent has ended."""
        self._aborted = True
        self.notify()

    def redrive(self, context: dict[str, Any]) -> None:
        """Prepare for another run, of what was unsuccessful or did not start."""
        self.context = context
        self.status, self.stop_date, self.error, self._aborted = "RUNNING", None, None, False
        self.redrive_count += 1
        self.redrive_date = now_iso()
        for batch in self.batches:
            batch.awaits_redrive = batch.child is not None and batch.status != "succeeded"

    def run(self) -> None:
        """Run to the end: the body of the Map Run's thread."""
        try:
            self.batches = self.batches or self._batches()
            self._run_children()
            self._write()
        except TaskError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - whatever it is, the Map Run must end
            self.error = TaskError("States.Runtime", str(error))
        finally:
            self._stop_children()
        self.stop_date = now_iso()
        if self._aborted:
            self.status = "ABORTED"
        else:
            self.status = "FAILED" if self.error else "SUCCEEDED"
        self.parent.notify()

    def _batches(self) -> list[Batch]:
        items = self.items
        if items is None:
            items = map_items.from_reader(self.state, self.state_input, self.context, self.role_arn)
        self._total = len(items)
        size = self._batch_size()
        return [Batch(first, items[first : first + size]) for first in range(0, len(items), size)]

    def _batch_size(self) -> int:
        batcher = self.state.get("ItemBatcher")
        if batcher is None:
            return 1
        if (
            not batcher
            or set(batcher) - _BATCHER
            or not {"MaxItemsPerBatch", "MaxItemsPerBatchPath"} & set(batcher)
        ):
            raise TaskError(
                "States.Runtime", "ItemBatcher: the local stack supports MaxItemsPerBatch and BatchInput only"
            )
        return int(_number(batcher, "MaxItemsPerBatch", self.state_input, self.context, self.state) or 1)

    def _run_children(self) -> None:
        waiting = [batch for batch in reversed(self.batches) if batch.status != "succeeded"]
        running: list[Batch] = []
        failed = 0
        late = float("inf")
        while waiting or running:
            with self._changed:
                ended = [batch for batch in running if batch.child and batch.child.ended]
                failed += sum(len(batch.items) for batch in ended if batch.status in _FAILED)
                running = [batch for batch in running if batch not in ended]
                if self._aborted or self._exceeded(failed):
                    late = min(late, time.monotonic() + _LATE_SECONDS)
                if time.monotonic() >= late:
                    break
                if not waiting or len(running) >= self._at_a_time():
                    if running:
                        self._changed.wait(None if late == float("inf") else late - time.monotonic())
                    continue
            batch = waiting.pop()
            self._start(batch)
            running.append(batch)
        self._stop_children()
        if self._exceeded(failed):
            self.error = TaskError(
                "States.ExceedToleratedFailureThreshold",
                "The specified tolerated failure threshold was exceeded",
            )

    def _at_a_time(self) -> int:
        return min(self.limits.max_concurrency or _MOST_CHILDREN, _MOST_CHILDREN)

    def _exceeded(self, failed: int) -> bool:
        """Whether so many failed or timed out items are more than are tolerated."""
        count, percentage = self.limits.tolerated_count, self.limits.tolerated_percentage
        if count is None and percentage is None:
            return failed > 0
        return (count is not None and failed > count) or (
            percentage is not None and failed * 100 > percentage * self._total
        )

    def _start(self, batch: Batch) -> None:
        if batch.child and not self.express:
            record = batch.child.record
            if denial := roles.denial(self.role_arn, "states:RedriveExecution", record["executionArn"]):
                raise TaskError("States.Runtime", denial)
            batch.child = executions.redrive(record, self)
            batch.awaits_redrive = False
            return
        name = str(uuid.uuid4())
        text = self._input(batch)
        executions_of = self.machine_arn.replace(":stateMachine:", ":execution:")
        processor = {
            "QueryLanguage": self.parent.definition.get("QueryLanguage", "JSONPath"),
            **self.state["ItemProcessor"],
            **({"TimeoutSeconds": _EXPRESS_SECONDS} if self.express else {}),
        }
        record = executions.new_record(f"{executions_of}:{name}", self.machine_arn, text)
        record |= {"mapRunArn": self.arn, "itemCount": len(batch.items), "express": self.express}
        batch.child = executions.begin(record, processor, self.role_arn, self)
        batch.awaits_redrive = False

    def _input(self, batch: Batch) -> str:
        """The input of the child execution."""
        inputs = [self._selected(batch.first + offset, item) for offset, item in enumerate(batch.items)]
        document = inputs[0]
        if batcher := self.state.get("ItemBatcher"):
            fixed = self._evaluated(batcher.get("BatchInput"), self.context)
            document = ({} if fixed is None else {"BatchInput": fixed}) | {"Items": inputs}
        check_size(document, "A Map state made an input of a child execution")
        return json.dumps(document)

    def _selected(self, index: int, item: Any) -> Any:
        selector = self.state.get("ItemSelector")
        if selector is None:
            return item
        return self._evaluated(selector, {**self.context, "Map": {"Item": {"Index": index, "Value": item}}})

    def _evaluated(self, template: Any, context: dict[str, Any]) -> Any:
        if template is None:
            return None
        if ministack._state_query_language(self.state, context) == "JSONata":
            return ministack._apply_jsonata_template(template, self.state_input, context)
        selected = ministack._apply_input_path(self.state, self.state_input, context)
        return ministack._resolve_params_obj(template, selected, context)

    def _stop_children(self) -> None:
        """Abort the running child executions. Express ones run to their end."""
        for batch in self.batches:
            if batch.child and not batch.child.ended and not self.express:
                batch.child.end("ABORTED")
        with self._changed:
            self._changed.wait_for(lambda: all(batch.status != "running" for batch in self.batches))

    def _write(self) -> None:
        started = [batch.child for batch in self.batches if batch.child]
        if self.writer.bucket is None:
            self.output = map_results.outputs(started, self.writer.transformation)
            return
        pending = [self._input(batch) for batch in self.batches if not batch.child]
        self.output = map_results.export(self.writer, self.arn, started, pending, self.role_arn)
        self.results_written = True


def _run_map(
    state: dict[str, Any], state_input: Any, record: dict[str, Any], context: dict[str, Any]
) -> tuple[Any, str | None]:
    """A Map state, once: its Retry and Catch are applied by the caller."""
    processor = state.get("ItemProcessor") or {}
    if (processor.get("ProcessorConfig") or {}).get("Mode") != "DISTRIBUTED":
        inline: tuple[Any, str | None] = _ministack_run_map_items(state, state_input, record, context)
        return inline
    parent = executions.current.get()
    if parent.resuming and (earlier := _unfinished(parent, context)):
        map_run = earlier
        # Its end may be late, too.
        map_run.parent = parent
        parent.wait_for(lambda: map_run.status != "RUNNING")
        map_run.redrive(dict(context))
        details = {"mapRunArn": map_run.arn, "redriveCount": map_run.redrive_count}
        _event(record, "MapRunRedriven", details)
    else:
        map_run = _new(parent, state, state_input, record, context)
        _event(record, "MapStateStarted", {"length": len(map_run.items or [])})
        ministack._map_runs[map_run.arn] = map_run
        _event(record, "MapRunStarted", {"mapRunArn": map_run.arn})
    # A copy of the context: the account and the region, and the execution whose history this belongs to.
    threading.Thread(target=contextvars.copy_context().run, args=(map_run.run,), daemon=True).start()
    try:
        parent.wait_for(lambda: map_run.status != "RUNNING")
    except Ended:
        map_run.abort()
        raise
    if error := map_run.error:
        _event(record, "MapRunFailed", {"error": error.error, "cause": error.cause})
        _event(record, "MapStateFailed")
        raise error
    _event(record, "MapRunSucceeded")
    check_size(map_run.output, f"The state '{context['State']['Name']}' returned a result")
    _event(record, "MapStateSucceeded")
    output = tasks.evaluate_output(state, state_input, context, map_run.output)
    return output, ministack._next_or_end(state)


def _unfinished(parent: Run, context: dict[str, Any]) -> MapRun | None:
    """The Map Run of the state that a redrive enters again, if it had read its items."""
    runs = [
        run
        for run in ministack._map_runs.values()
        if run.parent.record is parent.record and run.context["State"]["Name"] == context["State"]["Name"]
    ]
    latest = max(runs, key=lambda run: run.start_date, default=None)
    return latest if latest and latest.batches and latest.status != "SUCCEEDED" else None


def _new(
    parent: Run, state: dict[str, Any], state_input: Any, record: dict[str, Any], context: dict[str, Any]
) -> MapRun:
    limits = _limits(state, state_input, context)
    machine, _, _ = record["stateMachineArn"].partition("/")
    if denial := roles.denial(context["Execution"]["RoleArn"], "states:StartExecution", machine):
        raise TaskError("States.Runtime", denial)
    label = state.get("Label") or uuid.uuid5(uuid.NAMESPACE_URL, f"{machine}/{context['State']['Name']}")
    return MapRun(
        arn=f"{machine.replace(':stateMachine:', ':mapRun:')}/{label}:{uuid.uuid4()}",
        parent=parent,
        state=state,
        state_input=state_input,
        # Later states change the execution's.
        context=dict(context),
        limits=limits,
        writer=map_results.writer(state, state_input, context),
        items=None if "ItemReader" in state else map_items.from_input(state, state_input, context),
    )


def _limits(state: dict[str, Any], state_input: Any, context: dict[str, Any]) -> Limits:
    names = ("MaxConcurrency", "ToleratedFailureCount", "ToleratedFailurePercentage")
    concurrency, count, percentage = (_number(state, name, state_input, context, state) for name in names)
    if count is not None and count < 0:
        raise TaskError("States.Runtime", "ToleratedFailureCount cannot be negative.")
    if percentage is not None and not 0 <= percentage <= 100:  # noqa: PLR2004 - per cent
        raise TaskError("States.Runtime", "ToleratedFailurePercentage must be between 0 and 100.")
    return Limits(max(0, int(concurrency or 0)), None if count is None else int(count), percentage)


def _number(
    owner: dict[str, Any], name: str, state_input: Any, context: dict[str, Any], state: dict[str, Any]
) -> float | None:
    """A field that may be an expression, or have a reference path in its place."""
    if ministack._state_query_language(state, context) == "JSONata":
        if name not in owner:
            return None
        number: float = ministack._jsonata_state_field(owner, name, "number", state_input, context)
        return number
    path = owner.get(f"{name}Path")
    if path is None:
        return owner.get(name)
    selected = ministack._apply_input_path(state, state_input, context)
    value = ministack._resolve_path_or_ctx(path, selected, context)
    if not isinstance(value, int | float) or isinstance(value, bool):
        kind = "float" if name.endswith("Percentage") else "integer"
        reason = f'The {name}Path field refers to value "{value}" which is not a valid {kind}: {path}'
        raise TaskError("States.Runtime", reason)
    return value


def _event(record: dict[str, Any], kind: str, details: dict[str, Any] | None = None) -> None:
    member = f"{kind[0].lower()}{kind[1:]}EventDetails"
    ministack._add_event(record, kind, {} if details is None else {member: details})


def _list(data: dict[str, Any]) -> Any:
    arn = data.get("executionArn", "")
    if arn not in ministack._executions:
        return executions.unknown(arn)
    runs = [run for run in ministack._map_runs.values() if run.parent.record["executionArn"] == arn]
    answers = [
        {
            "executionArn": arn,
            "mapRunArn": run.arn,
            "stateMachineArn": run.machine_arn,
            "startDate": run.start_date,
            **({"stopDate": run.stop_date} if run.stop_date else {}),
        }
        for run in runs
    ]
    return json_response({"mapRuns": answers})


def _describe(data: dict[str, Any]) -> Any:
    run = ministack._map_runs.get(data.get("mapRunArn", ""))
    if run is None:
        return _unknown(data)
    written = [batch for batch in run.batches if batch.child] if run.results_written else []
    answer = {
        "mapRunArn": run.arn,
        "executionArn": run.parent.record["executionArn"],
        "status": run.status,
        "startDate": run.start_date,
        "maxConcurrency": run.limits.max_concurrency,
        "toleratedFailurePercentage": run.limits.tolerated_percentage or 0.0,
        "toleratedFailureCount": run.limits.tolerated_count or 0,
        "itemCounts": _counts(run.batches, lambda batch: len(batch.items), written),
        "executionCounts": _counts(run.batches, lambda _: 1, written),
        "redriveCount": run.redrive_count,
    }
    dates = {"stopDate": run.stop_date, "redriveDate": run.redrive_date}
    return json_response(answer | {name: date for name, date in dates.items() if date})


def _counts(batches: list[Batch], size: Any, written: list[Batch]) -> dict[str, int]:
    counts = dict.fromkeys(("pending", *_STATUSES.values(), "failuresNotRedrivable", "pendingRedrive"), 0)
    for batch in batches:
        counts[batch.status] += size(batch)
    return counts | {"total": sum(map(size, batches)), "resultsWritten": sum(map(size, written))}


def _update(data: dict[str, Any]) -> Any:
    run = ministack._map_runs.get(data.get("mapRunArn", ""))
    if run is None:
        return _unknown(data)
    run.limits = Limits(
        data.get("maxConcurrency", run.limits.max_concurrency),
        data.get("toleratedFailureCount", run.limits.tolerated_count),
        data.get("toleratedFailurePercentage", run.limits.tolerated_percentage),
    )
    run.notify()
    return json_response({})


def _unknown(data: dict[str, Any]) -> Any:
    return error_response_json("ResourceNotFound", f"Map Run Does Not Exist: '{data.get('mapRunArn')}'")
