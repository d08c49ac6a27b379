"""Invariants of the document, checked by a walk over its states."""

import json
import re
from typing import Any

import pytest

from functions.errors import AthenaQueryError
from infra.document import render_document
from tests.simulation.interpreter import INVOKE_AND_WAIT, UnknownField, check_fields, read_document
from tests.state_machine.reading import reached_from

TEXT = render_document().replace("${Partition}", "aws")
MACHINE: Any = json.loads(re.sub(r"(?<!\")\$\{\w+\}(?!\")", "1", TEXT))
STATES: dict[str, Any] = MACHINE["States"]
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
CALLBACKS = {name: state for name, state in TASKS.items() if state["Resource"] == INVOKE_AND_WAIT}
SUBSTITUTIONS = {
    "Partition": "aws",
    "ExecutorArn": "executor",
    "CheckerArn": "checker",
    "PatienceSeconds": 300,
    "PollSeconds": 30,
    "PollGrowth": 0.1,
    "BackOffSeconds": 10,
}

# Each ends the execution in the task that receives it, so that a redrive enters that task again
# (docs/adr/0002-failures-can-be-redriven.md); none may be retried or caught.
TYPED = {f"AthenaQuery.{one.__name__}" for one in AthenaQueryError.__subclasses__()} - {
    *("AthenaQuery.RunAgain", "AthenaQuery.Throttled")
}


def test_substitutions_are_known() -> None:
    assert set(re.findall(r"\$\{(\w+)\}", TEXT)) <= set(SUBSTITUTIONS)


def test_every_field_is_known_to_the_interpreter() -> None:
    check_fields(read_document(TEXT, SUBSTITUTIONS))


@pytest.mark.parametrize("edit", ["HeartbeatSeconds", "ItemReader", "Parameters"])
def test_an_unknown_field_is_an_error(edit: str) -> None:
    document = read_document(TEXT, SUBSTITUTIONS)
    document["States"]["Wait"][edit] = 1
    with pytest.raises(UnknownField, match=edit):
        check_fields(document)


def test_the_states_keep_their_names() -> None:
    assert set(STATES) == {
        *("Start query", "Get query status", "Check query status", "Wait", "Failed", "Back off", "Done"),
    }
    assert MACHINE["StartAt"] == "Start query"


def test_every_state_is_reached_and_leads_to_done() -> None:
    for name in STATES:
        assert "Done" in reached_from(STATES, name)
    assert reached_from(STATES, MACHINE["StartAt"]) | {MACHINE["StartAt"]} == set(STATES)


def test_done_is_the_only_success_and_the_machine_has_a_time_limit() -> None:
    assert [name for name, state in STATES.items() if state["Type"] == "Succeed"] == ["Done"]
    assert not any(state.get("End") for state in STATES.values())
    assert MACHINE["TimeoutSeconds"] == 172_800


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_time_limit(name: str) -> None:
    limit = TASKS[name]["TimeoutSeconds"]
    assert isinstance(limit, str) or limit <= 60


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_missing_callback_leads_to_a_poll(name: str) -> None:
    [timeout] = [each for each in CALLBACKS[name]["Catch"] if "States.Timeout" in each["ErrorEquals"]]
    assert timeout["Next"] == "Get query status"


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_callback_task_passes_its_token_and_its_entry(name: str) -> None:
    payload = CALLBACKS[name]["Arguments"]["Payload"]
    assert payload["TaskToken"] == "{% $states.context.Task.Token %}"
    start = payload["Start"]
    entry = "$states.context.State.EnteredTime" if name == "Start query" else "$start"
    assert entry in (start["EnteredTime"] if isinstance(start, dict) else start)


@pytest.mark.parametrize("name", TASKS)
def test_errors_are_retried_by_name_with_jitter_and_back_off(name: str) -> None:
    retried: set[str] = set()
    for retrier in TASKS[name]["Retry"]:
        assert retrier["JitterStrategy"] == "FULL"
        assert retrier["BackoffRate"] > 1
        assert not retried & set(retrier["ErrorEquals"])
        retried |= set(retrier["ErrorEquals"])
    # Wildcards would match the typed failures, and retry a caller's own error.
    assert not retried & {"States.ALL", "States.TaskFailed", *TYPED}
    assert {"ServiceFault", "Runtime.ExitError", "Runtime.OutOfMemory", "Sandbox.Timedout"} <= retried


# What Lambda's Python runtime reports when it cannot load or call a function (lambda_runtime_exception.py of
# aws/aws-lambda-python-runtime-interface-client), SnapStart's hooks apart.
RUNTIME_FAULTS = {
    f"Runtime.{name}"
    for name in (
        *("BuiltInModuleConflict", "HandlerNotFound", "ImportModuleError", "LambdaContextUnmarshalError"),
        *("LambdaRuntimeClientError", "MalformedHandlerName", "MarshalError", "UserCodeSyntaxError"),
    )
}


@pytest.mark.parametrize("name", TASKS)
def test_a_function_that_cannot_be_loaded_is_retried(name: str) -> None:
    retried = {error for each in TASKS[name]["Retry"] for error in each["ErrorEquals"]}
    assert retried >= RUNTIME_FAULTS


def mean_seconds(retrier: Any) -> float:
    """The average duration of all retries: full jitter halves each delay."""
    pauses = (
        min(retrier["IntervalSeconds"] * retrier["BackoffRate"] ** retry, retrier["MaxDelaySeconds"])
        for retry in range(retrier["MaxAttempts"])
    )
    return float(sum(pauses)) / 2


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_start_is_retried_for_over_an_hour(name: str) -> None:
    for retrier in CALLBACKS[name]["Retry"]:
        assert mean_seconds(retrier) > 3_600


@pytest.mark.parametrize("name", TASKS)
def test_every_fault_leads_back_into_waiting(name: str) -> None:
    """No fault of AWS may end an execution whose query is healthy."""
    caught = {error: each["Next"] for each in TASKS[name]["Catch"] for error in each["ErrorEquals"]}
    if name == "Get query status":
        assert caught == {"States.ALL": "Wait"}
        return
    retried = {error for each in TASKS[name]["Retry"] for error in each["ErrorEquals"]}
    for fault in retried - {"AthenaQuery.Throttled"}:
        assert caught[fault] == "Get query status"


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_typed_failure_ends_the_execution(name: str) -> None:
    caught = {error for each in CALLBACKS[name]["Catch"] for error in each["ErrorEquals"]}
    assert not caught & {"States.ALL", "States.TaskFailed", "AthenaQuery.Throttled", *TYPED}


@pytest.mark.parametrize("name", ["Start query", "Wait"])
def test_an_input_that_cannot_be_passed_is_refused_by_the_executor(name: str) -> None:
    [catcher] = [one for one in STATES[name]["Catch"] if "States.DataLimitExceeded" in one["ErrorEquals"]]
    assert "Runtime.UnmarshalError" in catcher["ErrorEquals"]
    assert catcher["Next"] == "Failed"
    assert "Input" not in STATES["Failed"]["Arguments"]["Payload"]["Execution"]


def test_only_a_query_that_succeeded_is_done() -> None:
    choices = STATES["Check query status"]["Choices"]
    [done] = [choice for choice in choices if choice["Next"] == "Done"]
    assert done["Condition"] == "{% $states.input.State = 'SUCCEEDED' %}"
    assert STATES["Check query status"]["Default"] == "Wait"


def test_expressions_use_no_bare_dollar() -> None:
    """Step Functions forbids $ and $$ at the top of an expression; some engines forbid them everywhere."""
    for expression in re.findall(r"{%(.*?)%}", TEXT):
        assert not re.search(r"\$(?![A-Za-z{])", expression), expression
