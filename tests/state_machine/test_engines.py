"""The document behaves the same on moto's engine and on LocalStack's, with two implementations of JSONata."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from tests.state_machine import moto_engine
from tests.state_machine.localstack_engine import PYTHON, LocalStackEngine, localstack_host
from tests.state_machine.moto_engine import Double, Engine, Raised

Engines = Callable[..., AbstractContextManager[Any]]

INPUT = {"QueryString": "SELECT 1"}
OUTPUT = {"QueryId": "q-1", "State": "SUCCEEDED"}


@pytest.fixture(scope="module")
def host() -> Iterator[subprocess.Popen[str]]:
    if not PYTHON.exists():
        pytest.skip("LocalStack's interpreter needs Python 3.13 and is not installed: run make test-engines")
    with localstack_host() as started:
        yield started


@pytest.fixture(params=["moto", "localstack"])
def engine(request: pytest.FixtureRequest) -> Engines:
    if request.param == "moto":
        return moto_engine.engine
    started = request.getfixturevalue("host")
    return lambda **doubles: nullcontext(LocalStackEngine(started, doubles))


def succeed_soon(machine: Engine, payload: dict[str, Any]) -> None:
    machine.succeed_soon(payload["TaskToken"], OUTPUT)


def fail_soon(machine: Engine, payload: dict[str, Any], error: str, cause: Any = "") -> None:
    machine.fail_soon(payload["TaskToken"], error, cause)


def only_in(state: str, settle: Double) -> Double:
    """An executor that settles the task of one state."""

    def executor(machine: Engine, payload: dict[str, Any]) -> None:
        if payload["StateName"] == state:
            settle(machine, payload)

    return executor


def stay_silent(_machine: Engine, _payload: dict[str, Any]) -> None:
    """The event is lost."""


def test_the_event_path_is_one_state(engine: Engines) -> None:
    with engine(executor=succeed_soon) as machine:
        execution = machine.run(INPUT)
        states = machine.states(execution["executionArn"])
    assert execution["status"] == "SUCCEEDED"
    assert json.loads(execution["output"]) == OUTPUT
    assert states == ["Start query", "Done"]
    [(function, payload)] = machine.calls
    assert function == "executor"
    assert payload["StateName"] == "Start query"
    assert payload["Execution"]["Input"] == INPUT
    assert payload["Start"]["RunAgain"] == {}
    assert payload["Start"]["RedriveCount"] == 0


@pytest.mark.parametrize(
    "name",
    [
        "InvalidInput",
        "InvalidRequest",
        "Failed",
        "TransientFailure",
        "ScanLimitExceeded",
        "Cancelled",
        "TimedOut",
    ],
)
def test_a_typed_failure_ends_the_execution_in_its_task(engine: Engines, name: str) -> None:
    def executor(machine: Engine, payload: dict[str, Any]) -> None:
        fail_soon(machine, payload, f"AthenaQuery.{name}", {"QueryId": "q-1"})

    with engine(executor=executor) as machine:
        execution = machine.run(INPUT)
        states = machine.states(execution["executionArn"])
    assert execution["status"] == "FAILED"
    assert execution["error"] == f"AthenaQuery.{name}"
    assert json.loads(execution["cause"]) == {"QueryId": "q-1"}
    assert states == ["Start query"]
    assert len(machine.calls) == 1


def test_a_throttled_start_is_retried_within_its_entry(engine: Engines) -> None:
    def executor(machine: Engine, payload: dict[str, Any]) -> None:
        if len(machine.calls) < 3:
            fail_soon(machine, payload, "AthenaQuery.Throttled")
        else:
            succeed_soon(machine, payload)

    with engine(executor=executor) as machine:
        execution = machine.run(INPUT)
        states = machine.states(execution["executionArn"])
    assert execution["status"] == "SUCCEEDED"
    assert states == ["Start query", "Done"]
    assert len(machine.calls) >= 3
    assert len({json.dumps(payload["Start"]) for _, payload in machine.calls}) == 1


@pytest.mark.parametrize("error", ["ServiceFault", "Runtime.ExitError", "Sandbox.Timedout"])
def test_an_executor_that_raises_is_retried(engine: Engines, error: str) -> None:
    def executor(machine: Engine, payload: dict[str, Any]) -> None:
        if len(machine.calls) == 1:
            raise Raised(error)
        succeed_soon(machine, payload)

    with engine(executor=executor) as machine:
        execution = machine.run(INPUT)
        states = machine.states(execution["executionArn"])
    assert execution["status"] == "SUCCEEDED"
    assert states == ["Start query", "Done"]
    assert len(machine.calls) == 2


@pytest.mark.parametrize("error", ["KeyError", "Lambda.ResourceNotFoundException"])
def test_an_error_that_no_retry_names_ends_the_execution(engine: Engines, error: str) -> None:
    def executor(_machine: Engine, _payload: dict[str, Any]) -> None:
        raise Raised(error)

    with engine(executor=executor) as machine:
        execution = machine.run(INPUT)
    assert execution["status"] == "FAILED"
    assert execution["error"] == error
    assert len(machine.calls) == 1


def test_an_input_that_the_executor_cannot_parse_is_refused_without_it(engine: Engines) -> None:
    def executor(machine: Engine, payload: dict[str, Any]) -> None:
        if payload["StateName"] == "Start query":
            raise Raised("Runtime.UnmarshalError")
        fail_soon(machine, payload, "AthenaQuery.InvalidInput")

    with engine(executor=executor) as machine:
        execution = machine.run(INPUT)
        states = machine.states(execution["executionArn"])
    assert execution["error"] == "AthenaQuery.InvalidInput"
    assert states == ["Start query", "Failed"]
    assert "Input" not in machine.calls[1][1]["Execution"]


def test_a_poll_that_fails_leads_back_into_waiting(engine: Engines) -> None:
    """With an interval that grows, and whatever the error is."""

    def checker(_machine: Engine, _payload: dict[str, Any]) -> Any:
        raise Raised("KeyError")

    with engine(executor=only_in("Wait", succeed_soon), checker=checker) as machine:
        execution = machine.run(INPUT)
        states = machine.states(execution["executionArn"])
    assert execution["status"] == "SUCCEEDED"
    assert states == ["Start query", "Get query status", "Wait", "Done"]


def test_a_rerun_enters_start_query_again_as_the_next_attempt(engine: Engines) -> None:
    def executor(machine: Engine, payload: dict[str, Any]) -> None:
        if len(machine.calls) == 1:
            fail_soon(machine, payload, "AthenaQuery.RunAgain", {"Attempt": 2, "RedriveCount": 0})
        else:
            succeed_soon(machine, payload)

    with engine(executor=executor) as machine:
        execution = machine.run(INPUT)
        states = machine.states(execution["executionArn"])
    assert execution["status"] == "SUCCEEDED"
    assert states == ["Start query", "Back off", "Start query", "Done"]
    first, second = (payload["Start"] for _, payload in machine.calls)
    assert second["RunAgain"] == {"Attempt": 2, "RedriveCount": 0}
    assert first["EnteredTime"] != second["EnteredTime"]


def test_a_poll_settles_a_query_whose_event_is_lost(engine: Engines) -> None:
    def checker(_machine: Engine, _payload: dict[str, Any]) -> Any:
        return {"QueryId": "q-1", "State": "SUCCEEDED", "WaitSeconds": 1, "Output": OUTPUT}

    with engine(executor=stay_silent, checker=checker) as machine:
        execution = machine.run(INPUT)
        states = machine.states(execution["executionArn"])
    assert json.loads(execution["output"]) == OUTPUT
    assert states == ["Start query", "Get query status", "Check query status", "Done"]
    (_, started), (_, polled) = machine.calls
    assert polled == {"ExecutionId": execution["executionArn"], "Start": started["Start"]}


def test_the_fallback_waits_with_a_fresh_token_and_polls_again(engine: Engines) -> None:
    def executor(machine: Engine, payload: dict[str, Any]) -> None:
        if [function for function, _ in machine.calls].count("executor") == 3:
            succeed_soon(machine, payload)

    def checker(_machine: Engine, _payload: dict[str, Any]) -> Any:
        return {"QueryId": None, "State": "UNKNOWN", "WaitSeconds": 1}

    with engine(executor=executor, checker=checker) as machine:
        execution = machine.run(INPUT)
        states = machine.states(execution["executionArn"])
    assert execution["status"] == "SUCCEEDED"
    poll = ["Get query status", "Check query status", "Wait"]
    assert states == ["Start query", *poll, *poll, "Done"]
    executors = [payload for function, payload in machine.calls if function == "executor"]
    assert len({payload["TaskToken"] for payload in executors}) == 3
    assert len({json.dumps(payload["Start"]) for payload in executors}) == 1


def test_a_query_past_its_deadline_fails_while_it_waits(engine: Engines) -> None:
    def time_out(machine: Engine, payload: dict[str, Any]) -> None:
        fail_soon(machine, payload, "AthenaQuery.TimedOut", {"QueryId": "q-1"})

    def checker(_machine: Engine, _payload: dict[str, Any]) -> Any:
        return {"QueryId": "q-1", "State": "RUNNING", "WaitSeconds": 5}

    with engine(executor=only_in("Wait", time_out), checker=checker) as machine:
        execution = machine.run({**INPUT, "TimeoutSeconds": 1})
        states = machine.states(execution["executionArn"])
    assert execution["error"] == "AthenaQuery.TimedOut"
    assert states == ["Start query", "Get query status", "Check query status", "Wait"]


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
def test_the_executor_sends_a_failure_that_a_poll_detects(engine: Engines, state: str) -> None:
    def fail(machine: Engine, payload: dict[str, Any]) -> None:
        fail_soon(machine, payload, "AthenaQuery.Failed", {"QueryId": "q-1"})

    def checker(_machine: Engine, _payload: dict[str, Any]) -> Any:
        return {"QueryId": "q-1", "State": state, "WaitSeconds": 1}

    with engine(executor=only_in("Failed", fail), checker=checker) as machine:
        execution = machine.run(INPUT)
        states = machine.states(execution["executionArn"])
    assert execution["error"] == "AthenaQuery.Failed"
    assert states == ["Start query", "Get query status", "Check query status", "Failed"]


def test_a_poll_that_fails_is_retried(engine: Engines) -> None:
    def checker(machine: Engine, _payload: dict[str, Any]) -> Any:
        if len(machine.calls) == 2:
            raise Raised("ServiceFault")
        return {"QueryId": "q-1", "State": "SUCCEEDED", "WaitSeconds": 1, "Output": OUTPUT}

    with engine(executor=stay_silent, checker=checker) as machine:
        execution = machine.run({**INPUT, "TimeoutSeconds": 1})
    assert execution["status"] == "SUCCEEDED"
    assert [function for function, _ in machine.calls] == ["executor", "checker", "checker"]


@pytest.mark.parametrize(
    "text",
    [
        "{% $states.context.Task.Token %}",
        "a'b\"c\\d",
        "$$ & `x` \u2028 \U0001f600",
        "/* */ ; ) := $x",
        "${ExecutorArn}",
    ],
)
def test_text_of_the_input_reaches_the_executor_unchanged(engine: Engines, text: str) -> None:
    given = {"QueryString": text, "Labels": {text: [text, None, {}]}, "TimeoutSeconds": text}
    with engine(executor=succeed_soon) as machine:
        execution = machine.run(given)
    assert execution["status"] == "SUCCEEDED"
    [(_, payload)] = machine.calls
    assert payload["Execution"]["Input"] == given


@pytest.mark.parametrize(
    "given",
    [
        *(None, [], "text", 7, {"TimeoutSeconds": -1}, {"TimeoutSeconds": 1e300}),
        *({"RunAgain": "text"}, {"RunAgain": {"RedriveCount": 0}}, [{"RunAgain": 7}]),
    ],
)
def test_an_input_of_any_shape_reaches_the_executor(engine: Engines, given: Any) -> None:
    def executor(machine: Engine, payload: dict[str, Any]) -> None:
        fail_soon(machine, payload, "AthenaQuery.InvalidInput")

    with engine(executor=executor) as machine:
        execution = machine.run(given)
    assert execution["error"] == "AthenaQuery.InvalidInput"
    [(_, payload)] = machine.calls
    assert payload["Start"]["RunAgain"] == {}, "whatever the input is"
