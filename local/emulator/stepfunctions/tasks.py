"""Task states: arguments, time limits, task tokens, nested executions, Retry and Catch."""

import contextvars
import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, get_region, json_response
from ministack.services import stepfunctions as ministack
from ministack.services.stepfunctions import _ExecutionError as TaskError

from local.emulator import roles
from local.emulator.stepfunctions import executions
from local.emulator.stepfunctions.executions import PAYLOAD_BYTES, Run, check_size

_ERROR_CHARACTERS = 256
_CAUSE_CHARACTERS = 32_768
_CALLBACK = ".waitForTaskToken"
_INVOKE = "arn:aws:states:::lambda:invoke"
_NESTED = "arn:aws:states:::states:startExecution"
# By which Step Functions receives the ends of nested executions.
_MANAGED_RULE = "StepFunctionsGetEventsForStepFunctionsExecutionRule"
# Step Functions developer guide, "Handling errors": names that the wildcards do not match.
_NOT_IN_ALL = {"States.DataLimitExceeded", "States.Runtime"}

_random = random.Random()  # noqa: S311 - jitter
_ministack_send = {
    name: getattr(ministack, name)
    for name in ("_send_task_success", "_send_task_failure", "_send_task_heartbeat")
}


@dataclass(eq=False)
class Callback:
    """A task that waits for its callback. `answer` returns its output or raises TaskError."""

    run: Run
    answer: Callable[[], Any] | None = None
    closed: bool = False


# By task token. A used token is kept, because a late callback is answered with TaskTimedOut.
_callbacks: dict[str, Callback] = {}
_callbacks_lock = threading.Lock()


def install() -> None:
    ministack._execute_task = _execute_task
    ministack._error_matches = _error_matches
    ministack._send_task_success = _send_task_success
    ministack._send_task_failure = _send_task_failure
    ministack._send_task_heartbeat = _send_task_heartbeat


def state_machine_of(token: str | None) -> str | None:
    """The ARN of the state machine that issued the task token."""
    callback = _callbacks.get(token or "")
    return str(callback.run.record["stateMachineArn"]) if callback else None


def _execute_task(
    state: dict[str, Any], state_input: Any, record: dict[str, Any], context: dict[str, Any]
) -> tuple[Any, str | None]:
    """Run a task with its retries; return the state's output and the name of the next state."""
    run = executions.current.get()
    retries: dict[int, int] = {}
    while True:
        run.check()
        context["State"]["RetryCount"] = sum(retries.values())
        try:
            result = _attempt(run, state, state_input, record, context)
            return evaluate_output(state, state_input, context, result), ministack._next_or_end(state)
        except TaskError as error:
            _record_failure(record, state, error)
            retrier, index = ministack._find_matching_retrier(state.get("Retry", []), error.error, retries)
            if retrier is None:
                return catch(state, state_input, context, error)
            delay = _delay(retrier, retries.get(index, 0))
            retries[index] = retries.get(index, 0) + 1
        run.wait_for(lambda: False, delay)


def _delay(retrier: dict[str, Any], count: int) -> float:
    """Seconds before the next attempt, after `count` retries."""
    delay: float = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** count
    delay = min(delay, retrier.get("MaxDelaySeconds", delay))
    return _random.uniform(0, delay) if retrier.get("JitterStrategy") == "FULL" else delay


def _error_matches(names: list[str], error: str) -> bool:
    if error in names:
        return True
    if error in _NOT_IN_ALL:
        return False
    return "States.ALL" in names or ("States.TaskFailed" in names and error != "States.Timeout")


def catch(
    state: dict[str, Any], state_input: Any, context: dict[str, Any], error: TaskError
) -> tuple[Any, str | None]:
    catcher = ministack._find_matching_catcher(state.get("Catch", []), error.error)
    if catcher is None:
        raise error
    language = ministack._state_query_language(state, context)
    output = ministack._apply_catcher(
        catcher, state_input, context, language, {"Error": error.error, "Cause": error.cause}
    )
    return output, catcher["Next"]


def _attempt(
    run: Run, state: dict[str, Any], state_input: Any, record: dict[str, Any], context: dict[str, Any]
) -> Any:
    resource = state["Resource"]
    callback = None
    if _CALLBACK in resource:
        context["Task"] = {"Token": ministack.new_uuid()}
        callback = _callbacks[context["Task"]["Token"]] = Callback(run)
    arguments = evaluate_arguments(state, state_input, context)
    check_size(arguments, f"The state '{context['State']['Name']}' has arguments")
    seconds = evaluate_timeout(state, state_input, context)
    details = {"resourceType": _service(resource), "resource": resource.rpartition(":")[2]}
    scheduled = details | {"region": ministack.get_region(), "parameters": json.dumps(arguments)}
    if seconds:
        scheduled["timeoutInSeconds"] = int(seconds)
    _event(record, "TaskScheduled", scheduled)
    _event(record, "TaskStarted", details)
    if callback:
        result = _call_back(
            callback, resource, arguments, seconds, lambda: _event(record, "TaskSubmitted", details)
        )
    elif resource.startswith(_NESTED):
        result = _nested(run, resource, arguments, seconds)
    else:
        result = _invoke(run, resource, arguments, seconds)
    check_size(result, f"The state '{context['State']['Name']}' returned a result")
    _event(record, "TaskSucceeded", details | {"output": json.dumps(result)})
    return result


def evaluate_arguments(state: dict[str, Any], state_input: Any, context: dict[str, Any]) -> Any:
    if ministack._state_query_language(state, context) == "JSONata":
        return ministack._apply_jsonata_arguments(state, state_input, context)
    arguments = ministack._apply_input_path(state, state_input, context)
    return ministack._apply_parameters(state, arguments, context)


def evaluate_timeout(state: dict[str, Any], state_input: Any, context: dict[str, Any]) -> float | None:
    """The task's time limit in seconds."""
    if path := state.get("TimeoutSecondsPath"):
        seconds = ministack._resolve_path_or_ctx(path, state_input, context)
    elif isinstance(state.get("TimeoutSeconds"), str):
        seconds = ministack._jsonata_state_field(state, "TimeoutSeconds", "number", state_input, context)
    else:
        return state.get("TimeoutSeconds")
    if not isinstance(seconds, int | float) or seconds <= 0 or seconds != int(seconds):
        raise TaskError(
            "States.QueryEvaluationError", f"TimeoutSeconds must be a positive integer, but was: {seconds}"
        )
    return seconds


def _service(resource: str) -> str:
    """lambda, states, aws-sdk:athena, ...: a resource is arn:aws:states:::SERVICE:ACTION."""
    if resource.startswith("arn:aws:lambda:"):
        return "lambda"
    return resource.removeprefix("arn:aws:states:::").rpartition(":")[0]


def _event(record: dict[str, Any], kind: str, details: dict[str, Any]) -> None:
    ministack._add_event(record, kind, {f"{kind[0].lower()}{kind[1:]}EventDetails": details})


def _record_failure(record: dict[str, Any], state: dict[str, Any], error: TaskError) -> None:
    resource = state["Resource"]
    kind = "TaskTimedOut" if error.error == "States.Timeout" else "TaskFailed"
    details = {"resourceType": _service(resource), "resource": resource.rpartition(":")[2]}
    _event(record, kind, details | {"error": error.error, "cause": error.cause})


def evaluate_output(state: dict[str, Any], state_input: Any, context: dict[str, Any], result: Any) -> Any:
    if ministack._state_query_language(state, context) == "JSONata":
        output = ministack._apply_jsonata_output(state, state_input, context, result=result, default=result)
        ministack._apply_state_assign(state, state_input, context, result=result)
        return output
    selected = ministack._apply_result_selector(state, result)
    output = ministack._apply_result_path(state, state_input, selected)
    return ministack._apply_output_path(state, output, context)


def _invoke(run: Run, resource: str, arguments: Any, seconds: float | None) -> Any:
    """Call the service. A call that exceeds its time limit continues, and its result is ignored."""
    if seconds is None:
        return _call_service(run, resource, arguments)
    outcome: list[Callable[[], Any]] = []

    def call() -> None:
        outcome.append(_outcome(lambda: _call_service(run, resource, arguments)))
        run.notify()

    threading.Thread(target=contextvars.copy_context().run, args=(call,), daemon=True).start()
    if not run.wait_for(lambda: bool(outcome), seconds):
        raise TaskError("States.Timeout", "")
    return outcome[0]()


def _call_service(run: Run, resource: str, arguments: Any) -> Any:
    """Call the service; a function, with the permissions of the state machine's role."""
    if _service(resource) == "lambda":
        function = arguments["FunctionName"] if resource.startswith(_INVOKE) else resource
        if not function.startswith("arn:"):
            function = f"arn:aws:lambda:{get_region()}:{get_account_id()}:function:{function}"
        role_arn = run.context["Execution"]["RoleArn"]
        if denial := roles.denial(role_arn, "lambda:InvokeFunction", function):
            # https://github.com/awslabs/aws-deployment-framework/issues/460
            suffix = "(Service: AWSLambda; Status Code: 403; Error Code: AccessDeniedException)"
            raise TaskError("Lambda.AWSLambdaException", f"{denial} {suffix}")
    return ministack._invoke_resource(resource, arguments)


def _outcome(call: Callable[[], Any]) -> Callable[[], Any]:
    """A function that returns what the call returned, or raises what it raised."""
    try:
        result = call()
    except TaskError as error:
        return _raise(error)
    return lambda: result


def _raise(error: TaskError) -> Callable[[], Any]:
    def again() -> Any:
        raise error

    return again


def _call_back(
    callback: Callback, resource: str, arguments: Any, seconds: float | None, submitted: Callable[[], None]
) -> Any:
    """Call the service, then wait for the callback."""
    try:
        _call_service(callback.run, resource.replace(_CALLBACK, ""), arguments)
    except TaskError:
        if callback.answer is None:
            callback.closed = True
            raise
    submitted()
    try:
        callback.run.wait_for(lambda: callback.answer is not None, seconds)
    finally:
        with _callbacks_lock:
            callback.closed = True
    if callback.answer is None:
        raise TaskError("States.Timeout", "")
    return callback.answer()


def _nested(run: Run, resource: str, arguments: Any, seconds: float | None) -> Any:
    """Start a child execution; with .sync, run it to its end.

    The failure of a child is States.TaskFailed; the cause describes the child.
    """
    request = ministack._nested_start_execution_request(arguments)
    waits = resource.startswith(f"{_NESTED}.sync")
    _check_nested(run, request["stateMachineArn"], waits=waits)
    status, _, body = executions.start(request, parent=run if waits else None)
    answer = json.loads(body)
    if status >= 400:  # noqa: PLR2004 - HTTP's client and server errors
        raise TaskError(f"StepFunctions.{answer['__type']}Exception", answer["message"])
    if not waits:
        return executions.pascal(answer)
    child = executions.run_of(answer["executionArn"])
    if not run.wait_for(lambda: child.ended, seconds):
        child.end("ABORTED")
        raise TaskError("States.Timeout", "")
    description = executions.pascal(executions.described(child.record))
    if child.record["status"] != "SUCCEEDED":
        raise TaskError("States.TaskFailed", json.dumps(description))
    if resource.endswith(":2"):
        description |= {name: json.loads(description[name]) for name in ("Input", "Output")}
    return description


def _check_nested(run: Run, machine_arn: str, *, waits: bool) -> None:
    """Raise TaskError unless the execution's role has what a nested execution needs.

    Step Functions developer guide, "IAM policies for calling other Step Functions workflows". AWS checks the
    managed rule when the state machine is created.
    """
    needed = {"states:StartExecution": machine_arn}
    if waits:
        executions_arn = f"{machine_arn.replace(':stateMachine:', ':execution:')}:*"
        needed |= {f"states:{action}": executions_arn for action in ("DescribeExecution", "StopExecution")}
        rule_arn = f"arn:aws:events:{get_region()}:{get_account_id()}:rule/{_MANAGED_RULE}"
        needed |= {f"events:{action}": rule_arn for action in ("PutTargets", "PutRule", "DescribeRule")}
    role_arn = run.context["Execution"]["RoleArn"]
    for action, resource in needed.items():
        if denied := roles.denial(role_arn, action, resource):
            raise TaskError("StepFunctions.AccessDeniedException", denied)


def _send_task_success(data: dict[str, Any]) -> Any:
    text = data.get("output", "")
    if len(text.encode()) > PAYLOAD_BYTES:
        return _too_long("output", PAYLOAD_BYTES)
    try:
        output = json.loads(text)
    except json.JSONDecodeError as error:
        return error_response_json("InvalidOutput", f"Invalid Output: '{error}'")
    return _answer(data, "_send_task_success", lambda: output)


def _send_task_failure(data: dict[str, Any]) -> Any:
    for name, limit in (("error", _ERROR_CHARACTERS), ("cause", _CAUSE_CHARACTERS)):
        if len(data.get(name, "")) > limit:
            return _too_long(name, limit)
    return _answer(
        data, "_send_task_failure", _raise(TaskError(data.get("error", ""), data.get("cause", "")))
    )


def _send_task_heartbeat(data: dict[str, Any]) -> Any:
    return _answer(data, "_send_task_heartbeat", None)


def _answer(data: dict[str, Any], name: str, answer: Callable[[], Any] | None) -> Any:
    """A token accepts one callback. A second one, or one after the timeout, is answered with TaskTimedOut."""
    token = data.get("taskToken", "")
    if token in ministack._task_tokens:
        return _ministack_send[name](data)  # an activity's
    callback = _callbacks.get(token)
    if callback is None:
        return error_response_json("InvalidToken", "Invalid Token: 'Invalid token'")
    with _callbacks_lock:
        late = callback.closed or callback.answer is not None or callback.run.ended
        if not late:
            callback.answer = answer
    if late:
        return error_response_json("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
    callback.run.notify()
    return json_response({})


def _too_long(name: str, limit: int) -> Any:
    return error_response_json(
        "ValidationException",
        f"1 validation error detected: Value at '{name}' failed to satisfy constraint: "
        f"Member must have length less than or equal to {limit}",
    )
