"""Lambda as on AWS, where MiniStack's differs: error names, and asynchronous invocation by EventBridge."""

import json
import re
from typing import Any

from ministack.services import eventbridge, lambda_svc

from local import events

_ministack_execute_function = lambda_svc._execute_function

# The last line of a traceback: the class, with its module in front, and the message.
_RAISED = re.compile(r"^(?:\w+\.)*(?P<name>[A-Za-z_]\w*)(?::.*)?$")


def install() -> None:
    lambda_svc._execute_function = _execute_function
    eventbridge._dispatch_to_lambda = _dispatch_to_lambda


def _execute_function(func: dict[str, Any], event: Any) -> dict[str, Any]:
    result: dict[str, Any] = _ministack_execute_function(func, event)
    if result.get("error") and isinstance(result.get("body"), dict):
        result["body"]["errorType"] = _error_type(result)
    events.delivery.note_handled(event)
    return result


def _error_type(result: dict[str, Any]) -> str:
    """MiniStack calls whatever a handler raises Runtime.HandlerError; AWS gives the class its name."""
    told = str(result["body"].get("errorType", ""))
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
