"""Step Functions as on AWS, where MiniStack's interpreter differs. Each difference has a function here."""

import contextvars
import json
import random
import threading
from typing import Any

from ministack.core.responses import error_response_json, json_response, now_iso
from ministack.services import eventbridge, stepfunctions

_ministack = {
    name: getattr(stepfunctions, name)
    for name in (
        *("_execute_task", "_apply_jsonata_arguments", "_call_lambda", "_find_matching_retrier"),
        *("_send_task_success", "_send_task_failure", "_stop_execution", "handle_request"),
    )
}
_random = random.Random()  # noqa: S311 - jitter
_lock = threading.Lock()
# Task token -> its state machine's ARN, for all that were given out: one that does not wait is spent.
_given: dict[str, str] = {}
# Execution ARN -> the token that it waits on, so that stopping the execution ends the wait.
_waits: dict[str, str] = {}
# Execution ARN -> where a redrive has to go on: state name, its input, the context with the variables.
_last_task: dict[str, tuple[str, Any, dict[str, Any]]] = {}


def install() -> None:
    """Put the functions below in the place of MiniStack's."""
    stepfunctions._execute_task = _execute_task
    stepfunctions._apply_jsonata_arguments = _arguments
    stepfunctions._call_lambda = _call_lambda
    stepfunctions._find_matching_retrier = _retrier
    stepfunctions._send_task_success = lambda data: _send("_send_task_success", data)
    stepfunctions._send_task_failure = lambda data: _send("_send_task_failure", data)
    stepfunctions._stop_execution = _stop_execution
    stepfunctions._emit_execution_status_event = _emit_status
    stepfunctions.handle_request = _handle_request


def machine_of(token: str | None) -> str | None:
    """The state machine that gave the token out."""
    return _given.get(token or "")


def _execute_task(
    state: dict[str, Any], raw_input: Any, execution: dict[str, Any], context: dict[str, Any]
) -> Any:
    """TimeoutSeconds may be an expression; the context tells of redrives; a redrive finds its way back."""
    if execution["status"] != "RUNNING":
        raise stepfunctions._ExecutionError("States.Runtime", "the execution has been stopped")
    context["Execution"].setdefault("RedriveCount", execution.get("redriveCount", 0))
    _last_task[execution["executionArn"]] = (context["State"]["Name"], raw_input, context)
    if execution.get("redriveCount"):
        stepfunctions._add_event(
            execution,
            "TaskStateEntered",
            {"stateEnteredEventDetails": {"name": context["State"]["Name"], "input": json.dumps(raw_input)}},
        )
    if isinstance(state.get("TimeoutSeconds"), str):
        seconds = stepfunctions._jsonata_state_field(state, "TimeoutSeconds", "number", raw_input, context)
        state = {**state, "TimeoutSeconds": seconds}
    return _ministack["_execute_task"](state, raw_input, execution, context)


def _arguments(state: dict[str, Any], raw_input: Any, context: dict[str, Any]) -> Any:
    """A retried task gets a new token."""
    if ".waitForTaskToken" in state.get("Resource", ""):
        if context["State"]["RetryCount"]:
            context["Task"] = {"Token": stepfunctions.new_uuid()}
        with _lock:
            _given[context["Task"]["Token"]] = context["StateMachine"]["Id"]
            _waits[context["Execution"]["Id"]] = context["Task"]["Token"]
    return _ministack["_apply_jsonata_arguments"](state, raw_input, context)


def _call_lambda(function: str, event: Any) -> Any:
    """A function that raises fails the task that waits for its token, at once."""
    try:
        return _ministack["_call_lambda"](function, event)
    except stepfunctions._ExecutionError as error:
        tokens = [one for one in event.values() if isinstance(one, str)] if isinstance(event, dict) else []
        for token in tokens:
            _end_wait(token, error.error, error.cause)
        raise


def _end_wait(token: str, error: str, cause: str) -> None:
    with _lock:
        waiting = stepfunctions._task_tokens.get(token)
        if waiting and not waiting["event"].is_set():
            waiting["error"] = {"Error": error, "Cause": cause}
            waiting["event"].set()


def _retrier(retriers: list[dict[str, Any]], error: str, counts: dict[int, int]) -> Any:
    """MaxDelaySeconds and JitterStrategy, given to MiniStack as an interval that does not grow."""
    retrier, index = _ministack["_find_matching_retrier"](retriers, error, counts)
    if retrier is None:
        return None, -1
    delay = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** counts.get(index, 0)
    delay = min(delay, retrier.get("MaxDelaySeconds", delay))
    if retrier.get("JitterStrategy") == "FULL":
        delay = _random.uniform(0, delay)
    return {**retrier, "IntervalSeconds": delay, "BackoffRate": 1}, index


def _send(name: str, data: dict[str, Any]) -> Any:
    """A token takes one answer. A second one, or one after the timeout, is told TaskTimedOut."""
    token = data.get("taskToken")
    with _lock:
        waiting = stepfunctions._task_tokens.get(token)
        if waiting and not waiting["event"].is_set():
            return _ministack[name](data)
        if token in _given:
            return error_response_json(
                "TaskTimedOut", "Task Timed Out: Provided task does not exist anymore", 400
            )
    return error_response_json("InvalidToken", "Invalid Token", 400)


def _stop_execution(data: dict[str, Any]) -> Any:
    """Stopping an execution ends its wait, so that no thread is left behind."""
    answer = _ministack["_stop_execution"](data)
    _end_wait(_waits.get(data.get("executionArn", ""), ""), "States.Runtime", "the execution was stopped")
    return answer


def _emit_status(execution: dict[str, Any]) -> None:
    """The "Execution Status Change" event with the redrive count that MiniStack does not have."""
    if execution["status"] != "RUNNING":
        _waits.pop(execution["executionArn"], None)
    detail = {
        "executionArn": execution["executionArn"],
        "stateMachineArn": execution["stateMachineArn"],
        "name": execution["name"],
        "status": execution["status"],
        "startDate": stepfunctions._iso_to_epoch_ms(execution["startDate"]),
        "stopDate": stepfunctions._iso_to_epoch_ms(execution.get("stopDate")),
        "input": execution["input"],
        "inputDetails": {"included": True},
        "redriveCount": execution.get("redriveCount", 0),
    }
    eventbridge._put_events(
        {
            "Entries": [
                {
                    "Source": "aws.states",
                    "DetailType": "Step Functions Execution Status Change",
                    "Detail": json.dumps(detail),
                    "Resources": [execution["executionArn"]],
                }
            ]
        },
        allow_aws_source=True,
    )


async def _handle_request(
    method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
) -> Any:
    if headers.get("x-amz-target", "").endswith(".RedriveExecution"):
        return _redrive(json.loads(body or b"{}"))
    return await _ministack["handle_request"](method, path, headers, body, query_params)


def _redrive(data: dict[str, Any]) -> Any:
    """RedriveExecution: enter the state that failed again, with the input and variables it had."""
    arn = data.get("executionArn", "")
    execution = stepfunctions._executions.get(arn)
    if execution is None:
        return error_response_json("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'", 400)
    if execution["status"] not in {"FAILED", "ABORTED", "TIMED_OUT"} or arn not in _last_task:
        return error_response_json("ExecutionNotRedrivable", f"Execution is {execution['status']}", 400)
    moment = now_iso()
    execution |= {
        "status": "RUNNING",
        "stopDate": None,
        "redriveCount": execution.get("redriveCount", 0) + 1,
        "redriveDate": moment,
    }
    stepfunctions._add_event(
        execution,
        "ExecutionRedriven",
        {"executionRedrivenEventDetails": {"redriveCount": execution["redriveCount"]}},
    )
    stepfunctions._emit_execution_status_event(execution)
    threading.Thread(
        target=contextvars.copy_context().run, args=(_continue, execution, moment), daemon=True
    ).start()
    return json_response({"redriveDate": moment})


def _continue(execution: dict[str, Any], moment: str) -> None:
    state, raw_input, context = _last_task[execution["executionArn"]]
    context["Execution"] |= {"RedriveCount": execution["redriveCount"], "RedriveTime": moment}
    machine = stepfunctions._state_machines[execution["stateMachineArn"]]
    try:
        output = stepfunctions._run_sub_machine(
            json.loads(machine["definition"])["States"], state, raw_input, execution, context
        )
    except stepfunctions._ExecutionError as error:
        if execution["status"] == "RUNNING":
            stepfunctions._fail_execution(execution, error.error, error.cause)
        return
    if execution["status"] == "RUNNING":
        execution |= {"status": "SUCCEEDED", "output": json.dumps(output), "stopDate": now_iso()}
        stepfunctions._add_event(
            execution,
            "ExecutionSucceeded",
            {"executionSucceededEventDetails": {"output": execution["output"]}},
        )
        stepfunctions._emit_execution_status_event(execution)
