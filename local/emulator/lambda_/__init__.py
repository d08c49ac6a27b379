"""Where Lambda differs from MiniStack's: execution environments, errors, metrics, asynchronous calls."""

import contextvars
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from ministack.core.lambda_runtime import execution_credentials
from ministack.core.responses import error_response_json, get_account_id, get_region, new_uuid, now_iso
from ministack.services import cloudwatch
from ministack.services import lambda_svc as ministack

from local.emulator import roles, sqs
from local.emulator.eventbridge import delivery
from local.emulator.faults import faults
from local.emulator.lambda_.pool import Environment, Exited, Function, Pool, TimedOut
from local.emulator.recording import recorder

_ministack_execute_function = ministack._execute_function
_ministack_execute_function_warm = ministack._execute_function_warm

_ministack_create_function = ministack._create_function
_ministack_update_config = ministack._update_config

# Lambda developer guide, "Giving Lambda functions access to resources in an Amazon VPC".
_NETWORK_ACTIONS = ("CreateNetworkInterface", "DescribeNetworkInterfaces", "DeleteNetworkInterface")
_RETRIES = 2
_EVENT_AGE_SECONDS = 21_600
_SYSTEM_ERRORS = {"ServiceException", "TooManyRequestsException"}

# The asynchronous invocation in this thread is at its last attempt.
_last_attempt: contextvars.ContextVar[bool] = contextvars.ContextVar("last attempt", default=False)
_pending_lock = threading.Lock()


class Lambda:
    """Shared by the module's functions. `retry_seconds` is the delay before the first retry (on AWS 60)."""

    pool: Pool
    retry_seconds: float
    pending = 0


def install(*, folder: Path, environments: int, idle_seconds: float, retry_seconds: float) -> None:
    """Run at most `limit` environments at a time, with the functions' code in `folder`."""
    Lambda.pool = Pool(environments, folder, idle_seconds)
    Lambda.retry_seconds = retry_seconds
    ministack._execute_function = _execute_function
    ministack._execute_function_warm = _execute_function_warm
    ministack.invoke_async_with_retry = invoke_async
    ministack._create_function = _create_function
    ministack._update_config = _update_config
    # MiniStack counts calls of the Invoke API only. Every invocation is counted here, when it ends.
    ministack._emit_lambda_metrics = lambda *_, **__: None


def crashing(user_agent: str) -> Environment | None:
    """The environment that makes this AWS call, if its function is to crash at this call."""
    return Lambda.pool.crashing(user_agent)


def environments() -> int:
    """The number of execution environments."""
    return Lambda.pool.size()


def pending_events() -> int:
    """Asynchronous invocations that have not ended yet, the pauses before their retries included."""
    return Lambda.pending


def _create_function(data: dict[str, Any]) -> Any:
    return _network_refusal(data, data.get("Role")) or _ministack_create_function(data)


def _update_config(name: str, data: dict[str, Any]) -> Any:
    known = (ministack._functions.get(name) or {}).get("config", {})
    return _network_refusal(data, data.get("Role") or known.get("Role")) or _ministack_update_config(
        name, data
    )


def _network_refusal(data: dict[str, Any], role_arn: str | None) -> Any:
    """A function in a VPC needs a role that may create network interfaces."""
    if not (data.get("VpcConfig") or {}).get("SubnetIds"):
        return None
    for action in _NETWORK_ACTIONS:
        if roles.denial(role_arn, f"ec2:{action}", "*"):
            message = f"The provided execution role does not have permissions to call {action} on EC2"
            return error_response_json("InvalidParameterValueException", message, 400)
    return None


def _execute_function(func: dict[str, Any], event: Any) -> dict[str, Any]:
    """Run an invocation, of whatever kind."""
    recorder.record_secrets(event)
    result: dict[str, Any] = ministack._run_with_function_config_scope(func, _execute_in_scope, func, event)
    recorder.record("log", result.get("log", ""))
    delivery.record_handled(event)
    return result


def _execute_in_scope(func: dict[str, Any], event: Any) -> dict[str, Any]:
    name = (func.get("config") or func)["FunctionName"]
    if error := faults.outage(f"lambda:Invoke:{name}"):
        result = _failure(error, "The service does not answer.")
    else:
        result = _ministack_execute_function(func, event)
    throttled = bool(result.get("throttle"))
    if throttled:
        result["body"]["errorType"] = "TooManyRequestsException"
    _count(name, "Throttles", int(throttled))
    if not throttled:
        _count(name, "Invocations", 1)
        _count(name, "Errors", int(bool(result.get("error"))))
        _count(name, "Duration", result.get("duration_ms", 0), "Milliseconds")
    return result


def _count(function: str, metric: str, value: float, unit: str = "Count") -> None:
    cloudwatch.record_metric("AWS/Lambda", metric, value, unit, {"FunctionName": function})


def _execute_function_warm(func: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
    """Run a Python function in one of the pool's environments. MiniStack runs other runtimes."""
    config = func.get("config") or func
    code = func.get("code_zip")
    if not config["Runtime"].startswith("python") or not code:
        result: dict[str, Any] = _ministack_execute_function_warm(func, event, request_id)
        return result
    seconds = config["Timeout"]
    crash = faults.next_crash(config["Handler"].split(".")[-2], last_attempt=_last_attempt.get())
    begun = time.monotonic()
    try:
        invocation = Lambda.pool.invoke(
            _function(config, code), _context(config, request_id), json.dumps(event), seconds, crash
        )
    except TimedOut as error:
        reason = f"RequestId: {request_id} Error: Task timed out after {seconds}.00 seconds"
        answer = _failure("Sandbox.Timedout", reason, log=error.args[0])
    except Exited as error:
        reason = f"RequestId: {request_id} Error: Runtime exited without providing a reason"
        answer = _failure("Runtime.ExitError", reason, log=error.args[0])
    else:
        if failure := invocation.result.get("error"):
            answer = {"body": failure, "error": True, "log": invocation.log}
        else:
            answer = {"body": invocation.result["returned"], "log": invocation.log}
    return answer | {"duration_ms": (time.monotonic() - begun) * 1000}


def _failure(error: str, message: str, log: str = "") -> dict[str, Any]:
    return {"body": {"errorType": error, "errorMessage": message}, "error": True, "log": log}


def _context(config: dict[str, Any], request_id: str) -> dict[str, Any]:
    return {
        "function_name": config["FunctionName"],
        "function_version": config["Version"],
        "invoked_function_arn": config["FunctionArn"],
        "memory_limit_in_mb": str(config["MemorySize"]),
        "aws_request_id": request_id,
        "log_group_name": f"/aws/lambda/{config['FunctionName']}",
        "log_stream_name": request_id,
    }


def _function(config: dict[str, Any], code: bytes) -> Function:
    """The environment variables that Lambda documents ("Working with environment variables")."""
    account, region = get_account_id(), get_region()
    settings = config.get("Environment", {}).get("Variables", {})
    variables = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
        # A host name such as sync-127.0.0.1 does not exist.
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        **settings,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_LAMBDA_FUNCTION_NAME": config["FunctionName"],
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config["MemorySize"]),
        "AWS_LAMBDA_FUNCTION_VERSION": config["Version"],
        **execution_credentials(config),
    }
    return Function(
        key=json.dumps(
            [account, region, config["FunctionName"], config["Version"], config["CodeSha256"], variables]
        ),
        handler=config["Handler"],
        code=code,
        hash=config["CodeSha256"].replace("/", "_"),
        variables=variables,
    )


def invoke_async(func: dict[str, Any], event: Any) -> None:
    """Queue an event for a function (Lambda developer guide, "Invoking a function asynchronously")."""
    recorder.record("event", json.dumps(event))
    with _pending_lock:
        Lambda.pending += 1
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(_process, func, event), daemon=True).start()


def _process(func: dict[str, Any], event: Any) -> None:
    try:
        condition, attempts, result = _attempts(func, event)
        if condition:
            _send_to_destination(func, event, condition, attempts, result)
    finally:
        with _pending_lock:
            Lambda.pending -= 1


def _attempts(func: dict[str, Any], event: Any) -> tuple[str | None, int, dict[str, Any]]:
    """Invoke until the function succeeds; return the failure reason, the number of attempts, the last result.

    A function's errors are retried twice. Throttles and errors of the service are retried until the event is
    too old, or at once the end where the function's reserved concurrency is 0.
    """
    settings = _event_invoke_config(func)
    retries = settings.get("MaximumRetryAttempts", _RETRIES)
    too_old = time.monotonic() + settings.get("MaximumEventAgeInSeconds", _EVENT_AGE_SECONDS)
    attempts = errors = 0
    while True:
        _last_attempt.set(errors == retries)
        result = ministack._execute_function(func, event)
        attempts += 1
        if not result.get("error"):
            return None, attempts, result
        if result["body"].get("errorType") in _SYSTEM_ERRORS:
            if ministack._reserved_concurrency(func, func.get("config") or func) == 0:
                return "ZeroReservedConcurrency", attempts, result
            pause = Lambda.retry_seconds
        else:
            errors += 1
            if errors > retries:
                return "RetriesExhausted", attempts, result
            pause = Lambda.retry_seconds * errors
        if time.monotonic() + pause > too_old:
            return "EventAgeExceeded", attempts, result
        time.sleep(pause)


def _event_invoke_config(func: dict[str, Any]) -> dict[str, Any]:
    """MiniStack stores configurations with and without a qualifier separately."""
    return func.get("event_invoke_config") or func.get("event_invoke_configs", {}).get("$LATEST") or {}


def _send_to_destination(
    func: dict[str, Any], event: Any, condition: str, attempts: int, result: dict[str, Any]
) -> None:
    """Send the invocation record to the function's failure destination, if it has one."""
    config = func.get("config") or func
    arn = _event_invoke_config(func).get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
    _count(config["FunctionName"], "AsyncEventsDropped", 1)
    if not arn:
        return
    record = {
        "version": "1.0",
        "timestamp": now_iso(),
        "requestContext": {
            "requestId": new_uuid(),
            "functionArn": f"{config['FunctionArn']}:{config['Version']}",
            "condition": condition,
            "approximateInvokeCount": attempts,
        },
        "requestPayload": event,
        "responseContext": {
            "statusCode": 200,
            "executedVersion": config["Version"],
            "functionError": "Unhandled",
        },
        "responsePayload": result["body"],
    }
    if not sqs.send(arn, json.dumps(record), config["Role"]):
        _count(config["FunctionName"], "DestinationDeliveryFailures", 1)
