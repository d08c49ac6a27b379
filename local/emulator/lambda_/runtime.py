"""The program of an execution environment: imports the function's handler, then calls it for each invocation.

Runs in a process of its own, with the function's code in sys.path and nothing of this project. Reads one line
for each invocation; writes the log of the invocation and then, on a line of its own, MARK and the result.
"""

import importlib
import json
import os
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any

MARK = "\0result "


@dataclass(kw_only=True)
class Context:
    """The context object, a handler's second argument."""

    function_name: str
    function_version: str
    invoked_function_arn: str
    memory_limit_in_mb: str
    aws_request_id: str
    log_group_name: str
    log_stream_name: str
    deadline: float
    identity: None = None
    client_context: None = None

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - time.time()) * 1000))


def main() -> None:
    invocations = sys.stdin
    # The function's output is its log.
    output = sys.stdout = sys.stderr
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    module, _, name = os.environ["_HANDLER"].rpartition(".")
    failure = handler = None
    try:
        handler = getattr(importlib.import_module(module.replace("/", ".")), name)
    except ModuleNotFoundError as error:
        failure = _failure("Runtime.ImportModuleError", f"Unable to import module '{module}': {error}")
    except AttributeError as error:
        failure = _failure("Runtime.HandlerNotFound", str(error))
    except Exception as error:  # noqa: BLE001 - reported with the first invocation, as on Lambda
        failure = _raised(error)
    for line in invocations:
        result = failure or _invoke(handler, line)
        output.write(f"\n{MARK}{result}\n")
        output.flush()


def _invoke(handler: Any, line: str) -> str:
    envelope, _, payload = line.partition("\t")
    context = Context(**json.loads(envelope))
    try:
        event = json.loads(payload)
    except (ValueError, RecursionError) as error:
        return _failure("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}")
    try:
        returned = handler(event, context)
    except Exception as error:  # noqa: BLE001 - the failure of the invocation
        return _raised(error)
    try:
        return json.dumps({"returned": returned})
    except (TypeError, ValueError, RecursionError) as error:
        return _failure("Runtime.MarshalError", f"Unable to marshal response: {error}")


def _raised(error: BaseException) -> str:
    trace = traceback.format_list(traceback.extract_tb(error.__traceback__)[1:])
    sys.stdout.write(
        f"[ERROR] {type(error).__name__}: {error}\nTraceback (most recent call last):\n{''.join(trace)}"
    )
    return _failure(type(error).__name__, str(error), trace)


def _failure(kind: str, message: str, trace: list[str] | None = None) -> str:
    return json.dumps({"error": {"errorMessage": message, "errorType": kind, "stackTrace": trace or []}})


if __name__ == "__main__":
    main()
