"""Lambda as on AWS, where MiniStack's differs: error names, metrics, asynchronous invocation."""

import json
import re
from typing import Any

from ministack.services import eventbridge, lambda_svc

from local.emulator import eventbridge as event_delivery

_ministack_execute_function = lambda_svc._execute_function
_ministack_emit_metrics = lambda_svc._emit_lambda_metrics

# The last line of a traceback: the class, with its module in front, and the message.
_RAISED = re.compile(r"^(?:\w+\.)*(?P<name>[A-Za-z_]\w*)(?::.*)?$")


def install() -> None:
    lambda_svc._execute_function = _execute_function
    # MiniStack counts what comes by the Invoke API only; here every invocation is counted where it ends.
    lambda_svc._emit_lambda_metrics = _emit_throttles
    eventbridge._dispatch_to_lambda = _dispatch_to_lambda


def _execute_function(func: dict[str, Any], event: Any) -> dict[str, Any]:
    result: dict[str, Any] = _ministack_execute_function(func, event)
    if result.get("error") and isinstance(result.get("body"), dict):
        result["body"]["errorType"] = _error_type(result)
    if not result.get("throttle"):
        name = (func.get("config") or func)["FunctionName"]
        _ministack_emit_metrics(name, duration_ms=0, error=bool(result.get("error")), throttle=False)
    event_delivery.delivery.note_handled(event)
    return result


def _emit_throttles(function_name: str, *, throttle: bool, **_: Any) -> None:
    if throttle:
        _ministack_emit_metrics(function_name, duration_ms=0, error=False, throttle=True)


def _error_type(result: dict[str, Any]) -> str:
    """MiniStack calls whatever a handler raises Runtime.HandlerError; AWS gives the class its name."""
    told = str(result["body"].get("errorType", ""))
    if result.get("throttle"):
        return "Lambda.TooManyRequestsException"
    if told == "Sandbox.Timedout":
        return told
    if told == "Runtime.HandlerError":
        lines = str(result.get("log", "")).strip().splitlines()
        match = _RAISED.match(lines[-1]) if lines else None
        return match["name"] if match else "Runtime.ExitError"
    return "Runtime.ExitError"


def _dispatch_to_lambda(arn: str, payload: str) -> None:
    """EventBridge invokes asynchronously: with retries, then to the function's failure destination."""
    func, config, _ = lambda_svc._get_func_record_for_ref(arn)
    if func and config:
        lambda_svc.invoke_async_with_retry(
            lambda_svc._execution_record_for_config(func, config), json.loads(payload)
        )
