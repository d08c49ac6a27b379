"""Executions: start, run, stop, time out, redrive, describe. An ended execution never changes."""

import contextvars
import copy
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ministack.core.responses import error_response_json, get_account_id, get_region, json_response, now_iso
from ministack.services import cloudwatch, eventbridge
from ministack.services import stepfunctions as ministack

# Step Functions developer guide, "Service quotas": input or result of a task, state or execution, in UTF-8.
PAYLOAD_BYTES = 262_144

_ENDED_BY = {
    "SUCCEEDED": "ExecutionSucceeded",
    "FAILED": "ExecutionFailed",
    "ABORTED": "ExecutionAborted",
    "TIMED_OUT": "ExecutionTimedOut",
}
_METRICS = {
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "ABORTED": "ExecutionsAborted",
    "TIMED_OUT": "ExecutionsTimedOut",
}
_REDRIVABLE = {"FAILED", "ABORTED", "TIMED_OUT"}
# API reference, "StartExecution".
_NAME = re.compile(r"""[^\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]+""")
_NAME_CHARACTERS = 80
_STATUS_EVENT_BYTES = 248 * 1024

_ministack_delete_state_machine = ministack._delete_state_machine
_ministack_list_executions = ministack._list_executions
_ministack_handle_request = ministack.handle_request
_events_lock = threading.Lock()


class Ended(Exception):
    """The execution has ended while one of its threads was running."""


class Parent(Protocol):
    """Waits for the ends of executions: an execution (.sync), or a Map Run."""

    def notify(self) -> None: ...


@dataclass(eq=False, kw_only=True)
class Run:
    """An execution from its start, or from a redrive, to its end.

    `record` is MiniStack's; `children` are those that it waits for (.sync).
    """

    record: dict[str, Any]
    definition: dict[str, Any]
    context: dict[str, Any]
    parent: Parent | None = None
    children: list["Run"] = field(default_factory=list)
    # The state that a redrive enters again, and its input.
    position: tuple[str, Any]
    # Until that state has completed.
    resuming: bool = False
    deadline: float = float("inf")
    ended: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, met: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait until `met` returns true, at most `seconds`; return whether it did. Raise Ended."""
        with self._changed:
            limit = self.deadline - time.monotonic()
            limit = limit if seconds is None else min(limit, seconds)
            self._changed.wait_for(
                lambda: met() or self.ended, None if limit == float("inf") else max(0, limit)
            )
        self.check()
        return met()

    def check(self) -> None:
        """Raise Ended if the execution has ended, by its own time limit or otherwise."""
        if time.monotonic() >= self.deadline:
            self.end("TIMED_OUT")
        if self.ended:
            raise Ended

    def notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def end(self, status: str, **details: Any) -> None:
        """End the execution, unless it has ended, and the children that it waits for, unless it succeeded."""
        with self._changed:
            if self.ended:
                return
            self.record |= {"status": status, "stopDate": now_iso(), **details}
            # The event reports this end, although the execution may be redriven before it is sent.
            ended = dict(self.record)
            self.ended = True
            kind = _ENDED_BY[status]
            _append(self.record, kind, {f"{kind[0].lower()}{kind[1:]}EventDetails": details})
            self._changed.notify_all()
        for child in self.children:
            child.end("ABORTED")
        _publish_status(ended, _METRICS[status])
        if self.parent:
            self.parent.notify()


current: contextvars.ContextVar[Run] = contextvars.ContextVar("current execution")
_runs: dict[str, Run] = {}


def install() -> None:
    ministack._start_execution = start
    ministack._stop_execution = _stop
    ministack._describe_execution = _describe
    ministack._list_executions = _list
    ministack._run_execution = _run_sync
    ministack._add_event = _add_event
    ministack._delete_state_machine = _delete_state_machine
    ministack._scaled_sleep = _sleep
    ministack.handle_request = _handle_request


async def _handle_request(
    method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
) -> Any:
    if headers.get("x-amz-target", "").endswith(".RedriveExecution"):
        return _redrive(json.loads(body or b"{}"))
    return await _ministack_handle_request(method, path, headers, body, query_params)


def _refusal(name: str, text: str) -> tuple[str, str] | None:
    """Code and message of the error for a name or an input that StartExecution refuses."""
    if len(name) > _NAME_CHARACTERS or not _NAME.fullmatch(name):
        return "InvalidName", f"Invalid Name: '{name}'"
    if len(text.encode()) > PAYLOAD_BYTES:
        limit = f"Member must have length less than or equal to {PAYLOAD_BYTES}"
        failed = "1 validation error detected: Value at 'input' failed to satisfy constraint"
        return "ValidationException", f"{failed}: {limit}"
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return "InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'"
    return None


def start(data: dict[str, Any], parent: Run | None = None) -> Any:
    """StartExecution. `parent` is the execution that waits for the end of this one."""
    named_arn = data.get("stateMachineArn", "")
    arn = ministack._resolve_state_machine_arn(named_arn)
    if arn is None:
        return error_response_json("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{named_arn}'")
    name, text = data.get("name") or ministack.new_uuid(), data.get("input", "{}")
    if refusal := _refusal(name, text):
        return error_response_json(*refusal)
    machine = ministack._state_machines[arn]
    execution_arn = f"arn:aws:states:{get_region()}:{get_account_id()}:execution:{machine['name']}:{name}"
    if known := ministack._executions.get(execution_arn):
        if known["status"] == "RUNNING" and known["input"] == text:
            return json_response({"executionArn": execution_arn, "startDate": known["startDate"]})
        return error_response_json("ExecutionAlreadyExists", f"Execution Already Exists: '{execution_arn}'")
    record = new_record(execution_arn, arn, text)
    run = begin(record, json.loads(machine["definition"]), machine["roleArn"], parent)
    if parent:
        parent.children.append(run)
        if parent.ended:
            run.end("ABORTED")
    return json_response({"executionArn": execution_arn, "startDate": record["startDate"]})


def new_record(execution_arn: str, machine_arn: str, text: str) -> dict[str, Any]:
    return {
        "executionArn": execution_arn,
        "stateMachineArn": machine_arn,
        "name": execution_arn.rpartition(":")[2],
        "status": "RUNNING",
        "startDate": now_iso(),
        "stopDate": None,
        "input": text,
        "output": None,
        "redriveCount": 0,
        "events": [],
    }


def begin(record: dict[str, Any], definition: dict[str, Any], role_arn: str, parent: Parent | None) -> Run:
    """Start a new execution in a thread of its own."""
    ministack._executions[record["executionArn"]] = record
    started = {"input": record["input"], "roleArn": role_arn}
    _append(record, "ExecutionStarted", {"executionStartedEventDetails": started})
    run = _first_run(record, definition, role_arn, parent)
    _publish_status(record, "ExecutionsStarted")
    _in_thread(run)
    return run


def run_of(execution_arn: str) -> Run:
    return _runs[execution_arn]


def _run_sync(execution_arn: str) -> None:
    """Run an execution that StartSyncExecution has recorded, in the thread of the request."""
    record = ministack._executions[execution_arn]
    record["redriveCount"] = 0
    machine = ministack._state_machines[record["stateMachineArn"]]
    _walk(_first_run(record, json.loads(machine["definition"]), machine["roleArn"], None))


def _first_run(
    record: dict[str, Any], definition: dict[str, Any], role_arn: str, parent: Parent | None
) -> Run:
    state_input = json.loads(record["input"])
    context = {
        "QueryLanguage": definition.get("QueryLanguage", "JSONPath"),
        "Execution": {
            "Id": record["executionArn"],
            "Input": state_input,
            "Name": record["name"],
            "RoleArn": role_arn,
            "StartTime": record["startDate"],
            "RedriveCount": 0,
        },
        "StateMachine": {
            "Id": record["stateMachineArn"],
            "Name": record["stateMachineArn"].rpartition(":")[2],
        },
        "variables": {},
    }
    run = _runs[record["executionArn"]] = Run(
        record=record,
        definition=definition,
        context=context,
        parent=parent,
        position=(definition["StartAt"], state_input),
    )
    return run


def _in_thread(run: Run) -> None:
    # The account and the region of the request are context variables.
    threading.Thread(target=contextvars.copy_context().run, args=(_walk, run), daemon=True).start()


def _walk(run: Run) -> None:
    """Run the states from the position to the end of the execution."""
    current.set(run)
    limit = run.definition.get("TimeoutSeconds", float("inf"))
    run.deadline = time.monotonic() + limit
    try:
        name: str | None = run.position[0]
        while name:
            run.check()
            name = _enter(run, name, run.position[1])
            run.resuming = False
    except Ended:
        return
    except ministack._ExecutionError as error:
        run.end("FAILED", error=error.error, cause=error.cause)
    except Exception as error:  # noqa: BLE001 - whatever it is, the execution must end
        run.end("FAILED", error="States.Runtime", cause=str(error))
    else:
        run.end("SUCCEEDED", output=json.dumps(run.position[1]))


def _enter(run: Run, name: str, state_input: Any) -> str | None:
    """Run one state and return the name of the next. The position then holds the next one's input."""
    run.position = (name, state_input)
    state = run.definition["States"].get(name)
    if state is None:
        raise ministack._ExecutionError("States.Runtime", f"State '{name}' not found in definition")
    kind = state["Type"]
    run.context["State"] = {"Name": name, "EnteredTime": now_iso(), "RetryCount": 0}
    _add_event(
        run.record,
        f"{kind}StateEntered",
        {"stateEnteredEventDetails": {"name": name, "input": json.dumps(state_input)}},
    )
    output, following = execute(state, state_input, run.record, run.context)
    check_size(output, f"The state '{name}' returned a result")
    _add_event(
        run.record,
        f"{kind}StateExited",
        {"stateExitedEventDetails": {"name": name, "output": json.dumps(output)}},
    )
    run.position = (following or name, output)
    return following


def execute(
    state: dict[str, Any], state_input: Any, record: dict[str, Any], context: dict[str, Any]
) -> tuple[Any, str | None]:
    """Run one state; return its output and the name of the next state."""
    match state["Type"]:
        case "Task" | "Parallel" | "Map" as kind:
            execute = getattr(ministack, f"_execute_{kind.lower()}")
            output, following = execute(state, state_input, record, context)
        case "Pass" | "Choice" | "Wait" as kind:
            output, following = getattr(ministack, f"_execute_{kind.lower()}")(state, state_input, context)
        case "Succeed":
            if ministack._state_query_language(state, context) == "JSONata":
                output = ministack._apply_jsonata_output(state, state_input, context, default=state_input)
            else:
                output = ministack._apply_input_path(state, state_input, context)
                output = ministack._apply_output_path(state, output, context)
            following = None
        case "Fail":
            raise ministack._ExecutionError(*ministack._fail_state_error(state, state_input, context))
        case kind:
            raise ministack._ExecutionError("States.Runtime", f"Unknown state type: {kind}")
    return output, following


def check_size(value: Any, what: str) -> None:
    if len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) > PAYLOAD_BYTES:
        raise ministack._ExecutionError(
            "States.DataLimitExceeded",
            f"{what} with a size exceeding the maximum number of bytes service limit.",
        )


def _sleep(seconds: float) -> None:
    """A Wait state, or the pause before a Map or Parallel state is retried."""
    if run := current.get(None):
        run.wait_for(lambda: False, seconds)
    else:
        time.sleep(seconds)  # TestState


def _add_event(record: dict[str, Any], kind: str, details: dict[str, Any] | None = None) -> None:
    """Append to the history, unless the execution has ended."""
    run = current.get(None)
    if run and kind.endswith("StateEntered"):
        _check_machine(run)
    if run is None or not run.ended:
        _append(record, kind, details or {})


def _delete_state_machine(data: dict[str, Any]) -> Any:
    """Running executions stay until their next transition (API reference, "DeleteStateMachine")."""
    arn = data.get("stateMachineArn", "")
    running = {
        execution_arn: record
        for execution_arn, record in ministack._executions.items()
        if record["stateMachineArn"] == arn and record["status"] == "RUNNING"
    }
    response = _ministack_delete_state_machine(data)
    for execution_arn, record in running.items():
        ministack._executions[execution_arn] = record
    return response


def _check_machine(run: Run) -> None:
    """End the execution if its state machine has been deleted. Raise Ended."""
    machine_arn = run.record["stateMachineArn"].partition("/")[0]
    if machine_arn not in ministack._state_machines:
        name = machine_arn.rpartition(":")[2]
        run.end("FAILED", error="States.Runtime", cause=f"State machine {name} has been deleted.")
    run.check()


def _append(record: dict[str, Any], kind: str, details: dict[str, Any]) -> None:
    with _events_lock:
        events = record["events"]
        number = len(events) + 1
        events.append(
            {"id": number, "previousEventId": number - 1, "type": kind, "timestamp": now_iso(), **details}
        )


def _stop(data: dict[str, Any]) -> Any:
    arn = data.get("executionArn", "")
    run = _runs.get(arn)
    if run is None:
        return unknown(arn)
    run.end("ABORTED", **{name: data[name] for name in ("error", "cause") if data.get(name)})
    return json_response({"stopDate": run.record["stopDate"]})


def _describe(data: dict[str, Any]) -> Any:
    arn = data.get("executionArn", "")
    record = ministack._executions.get(arn)
    return json_response(described(record)) if record else unknown(arn)


def unknown(arn: str) -> Any:
    return error_response_json("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")


def described(record: dict[str, Any]) -> dict[str, Any]:
    """The response of DescribeExecution. Members without a value are absent."""
    succeeded = record["status"] == "SUCCEEDED"
    redrivable = record["status"] in _REDRIVABLE
    by = "REDRIVABLE_BY_MAP_RUN" if record.get("mapRunArn") else "REDRIVABLE"
    names = ("executionArn", "stateMachineArn", "name", "status", "startDate", "stopDate", "input")
    answer = {name: record.get(name) for name in (*names, "error", "cause", "redriveDate", "mapRunArn")}
    answer |= {
        "inputDetails": {"included": True},
        "output": record["output"] if succeeded else None,
        "outputDetails": {"included": True} if succeeded else None,
        "redriveCount": record.get("redriveCount", 0),
        "redriveStatus": by if redrivable else "NOT_REDRIVABLE",
        "redriveStatusReason": (
            None if redrivable else f"Execution is {record['status']} and cannot be redriven"
        ),
    }
    return {name: value for name, value in answer.items() if value is not None}


def pascal(value: Any, date: Callable[[str], Any] = ministack._iso_to_epoch_ms) -> Any:
    """AWS capitalizes the members of an SDK response and gives times in milliseconds."""
    if not isinstance(value, dict):
        return value
    return {
        f"{name[0].upper()}{name[1:]}": date(one) if name.endswith("Date") else pascal(one, date)
        for name, one in value.items()
    }


def _list(data: dict[str, Any]) -> Any:
    """ListExecutions with the redrive filter, which AWS refuses for a state machine (API reference). A page
    may have fewer entries than requested, as on AWS.
    """
    if data.get("stateMachineArn") and data.get("redriveFilter"):
        return error_response_json("ValidationException", "redriveFilter requires mapRunArn")
    status, headers, body = _ministack_list_executions(data)
    if status >= 400:  # noqa: PLR2004 - HTTP's client and server errors
        return status, headers, body
    answer = json.loads(body)
    page = []
    for entry in answer["executions"]:
        record = ministack._executions[entry["executionArn"]]
        count = record.get("redriveCount", 0)
        if data.get("redriveFilter") in {None, "REDRIVEN" if count else "NOT_REDRIVEN"}:
            entry |= {"redriveCount": count, "redriveDate": record.get("redriveDate")}
            entry["itemCount"] = record.get("itemCount")
            page.append({name: value for name, value in entry.items() if value is not None})
    return json_response({**answer, "executions": page})


def _redrive(data: dict[str, Any]) -> Any:
    """RedriveExecution: enter the state that did not complete again, with its input and variables."""
    arn = data.get("executionArn", "")
    record = ministack._executions.get(arn)
    if record is None:
        return unknown(arn)
    if (status := described(record)["redriveStatus"]) != "REDRIVABLE":
        return error_response_json(
            "ExecutionNotRedrivable", f"Execution is {record['status']} and its redrive status is {status}"
        )
    redrive(record, None)
    return json_response({"redriveDate": ministack._timestamp_response_value(record["redriveDate"])})


def redrive(record: dict[str, Any], parent: Parent | None) -> Run:
    moment = now_iso()
    count = record["redriveCount"] + 1
    record |= {"status": "RUNNING", "stopDate": None, "error": None, "cause": None}
    record |= {"redriveCount": count, "redriveDate": moment}
    arn = record["executionArn"]
    before = _runs[arn]
    context = copy.deepcopy(before.context)
    context["Execution"] |= {"RedriveCount": count, "RedriveTime": moment}
    run = _runs[arn] = Run(
        record=record,
        definition=before.definition,
        context=context,
        parent=parent,
        position=before.position,
        resuming=True,
    )
    _append(record, "ExecutionRedriven", {"executionRedrivenEventDetails": {"redriveCount": count}})
    _publish_status(record, "ExecutionsRedriven")
    _in_thread(run)
    return run


def _publish_status(record: dict[str, Any], metric: str) -> None:
    """Count the change in CloudWatch, and send the "Execution Status Change" event."""
    cloudwatch.record_metric("AWS/States", metric, 1, "Count", {"StateMachineArn": record["stateMachineArn"]})
    if record.get("sync") or record.get("express"):
        # Express workflows send no such events.
        return
    detail = {
        **dict.fromkeys(("output", "outputDetails", "error", "cause", "stopDate", "redriveDate")),
        **described(record),
        "startDate": ministack._iso_to_epoch_ms(record["startDate"]),
        "stopDate": ministack._iso_to_epoch_ms(record["stopDate"]),
        "redriveDate": ministack._iso_to_epoch_ms(record.get("redriveDate")),
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
    }
    for name in ("input", "output"):
        if len(json.dumps(detail[name])) > _STATUS_EVENT_BYTES:
            detail |= {name: None, f"{name}Details": {"included": False}}
    entry = {
        "Source": "aws.states",
        "DetailType": "Step Functions Execution Status Change",
        "Detail": json.dumps(detail),
        "Resources": [record["executionArn"]],
    }
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
