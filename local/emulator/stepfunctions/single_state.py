"""TestState: runs one state, with a mock in place of the service that a task calls.

MiniStack's ignores Arguments, Output and Assign of JSONata states (API reference, TestState).
"""

import json
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, get_region, json_response, now_iso
from ministack.services import stepfunctions as ministack
from ministack.services.stepfunctions import _ExecutionError as TaskError

from local.emulator.stepfunctions import executions, tasks

_ONLY_MOCKED = (".waitForTaskToken", ".sync")


class _Refused(Exception):
    """`args` are the error code and the message."""


def install() -> None:
    ministack._test_state = _test_state


def _test_state(data: dict[str, Any]) -> Any:
    try:
        return json_response(_tested(data))
    except _Refused as refusal:
        return error_response_json(*refusal.args)


def _tested(data: dict[str, Any]) -> dict[str, Any]:
    definition = _parsed(data, "definition", "InvalidDefinition")
    state_input = _parsed(data, "input", "InvalidExecutionInput")
    name = data.get("stateName")
    state = definition.get("States", {}).get(name) if name else definition
    if state is None or "Type" not in state:
        raise _Refused(
            "InvalidDefinition", f"Invalid State Machine Definition: no state {name or ''}".strip()
        )
    mock = data.get("mock")
    _check_mock(state, mock, data)
    context = _parsed(data, "context", "ValidationException")
    context.setdefault(
        "Execution", {"Id": f"arn:aws:states:{get_region()}:{get_account_id()}:execution:test"}
    )
    context.setdefault("StateMachine", {})
    context["State"] = {"Name": name, "EnteredTime": now_iso(), **context.get("State", {})}
    context["QueryLanguage"] = definition.get("QueryLanguage", "JSONPath")
    context["variables"] = _parsed(data, "variables", "ValidationException")
    details: dict[str, Any] = {}
    try:
        if state["Type"] == "Task":
            answer = _task(state, state_input, context, data, details)
        else:
            output, following = executions.execute(state, state_input, {"events": []}, context)
            answer = _reached("SUCCEEDED", output, following)
    except TaskError as error:
        answer = {"status": "FAILED", "error": error.error, "cause": error.cause}
    if data.get("inspectionLevel", "INFO") != "INFO":
        answer["inspectionData"] = details | {"variables": json.dumps(context["variables"])}
    return answer


def _parsed(data: dict[str, Any], name: str, error: str) -> Any:
    try:
        return json.loads(data.get(name) or "{}")
    except json.JSONDecodeError as invalid:
        raise _Refused(error, f"Invalid JSON in {name}: {invalid}") from None


def _check_mock(state: dict[str, Any], mock: dict[str, Any] | None, data: dict[str, Any]) -> None:
    kind = state["Type"]
    if kind in {"Map", "Parallel"}:
        raise _Refused("InvalidDefinition", f"TestState of a {kind} state is not supported locally")
    if mock and kind != "Task":
        raise _Refused(
            "ValidationException", f"State type '{kind}' is not supported when a mock is specified"
        )
    if not mock and kind == "Task" and any(one in state["Resource"] for one in _ONLY_MOCKED):
        raise _Refused("InvalidDefinition", f"{state['Resource']} is tested with a mock only")
    if data.get("context") and not mock:
        raise _Refused("ValidationException", "context is accepted with a mock only")


def _task(
    state: dict[str, Any],
    state_input: Any,
    context: dict[str, Any],
    data: dict[str, Any],
    details: dict[str, Any],
) -> dict[str, Any]:
    arguments = tasks.evaluate_arguments(state, state_input, context)
    details["afterArguments"] = json.dumps(arguments)
    tasks.evaluate_timeout(state, state_input, context)
    try:
        result = _result(state["Resource"], arguments, data.get("mock") or {})
        output = tasks.evaluate_output(state, state_input, context, result)
    except TaskError as error:
        return _failed(state, state_input, context, error, data.get("stateConfiguration") or {}, details)
    return _reached("SUCCEEDED", output, ministack._next_or_end(state))


def _result(resource: str, arguments: Any, mock: dict[str, Any]) -> Any:
    if failure := mock.get("errorOutput"):
        raise TaskError(failure.get("error", ""), failure.get("cause", ""))
    return json.loads(mock["result"]) if mock else ministack._invoke_resource(resource, arguments)


def _failed(
    state: dict[str, Any],
    state_input: Any,
    context: dict[str, Any],
    error: TaskError,
    configuration: dict[str, Any],
    details: dict[str, Any],
) -> dict[str, Any]:
    named = {"error": error.error, "cause": error.cause}
    retriers = state.get("Retry", [])
    count = configuration.get("retrierRetryCount", 0)
    retrier, index = ministack._find_matching_retrier(
        retriers, error.error, dict.fromkeys(range(len(retriers)), count)
    )
    if retrier:
        details["errorDetails"] = {"retryIndex": index}
        return {"status": "RETRIABLE", **named}
    output, following = tasks.catch(state, state_input, context, error)
    catcher = ministack._find_matching_catcher(state["Catch"], error.error)
    details["errorDetails"] = {"catchIndex": state["Catch"].index(catcher)}
    return _reached("CAUGHT_ERROR", output, following) | named


def _reached(status: str, output: Any, following: str | None) -> dict[str, Any]:
    answer = {"status": status, "output": json.dumps(output)}
    return answer | ({"nextState": following} if following else {})
