"""The load: executions of every kind, and the faults of each phase."""

import io
import json
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from local import load


class Stack:
    """Keeps what the load asks of the stack and of its clients."""

    outputs = {"StateMachineArn": "machine", "WorkGroupName": "queries"}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        self.modes: list[str] = []
        self.faults: Counter[str] = Counter()
        self.inputs: list[dict[str, Any]] = []
        self.stopped: list[str] = []
        self.queries_stopped = 0
        # Polls after which the last execution has ended.
        self.unfinished = 3

    def client(self, _: str) -> "Stack":
        return self

    def deliver_events(self, mode: str) -> None:
        self.modes.append(mode)

    def inject_athena_error(self, error: str) -> None:
        self.faults[error] += 1

    def inject_crash(self, function: str, call: int, when: str) -> None:
        self.faults[f"{function} {call} {when}"] += 1

    def start_execution(self, *, stateMachineArn: str, input: str) -> dict[str, str]:  # noqa: A002, N803 - boto3's
        assert stateMachineArn == "machine"
        self.inputs.append(json.loads(input))
        return {"executionArn": f"execution-{len(self.inputs)}"}

    def stop_execution(self, *, executionArn: str, **_: str) -> None:  # noqa: N803 - boto3's
        self.stopped.append(executionArn)

    def list_query_executions(self, **_: str) -> dict[str, list[str]]:
        return {"QueryExecutionIds": ["endless", "other"]}

    def batch_get_query_execution(self, **_: Any) -> dict[str, Any]:
        endless = next(one["QueryString"] for one in self.inputs if "flights c" in one["QueryString"])
        running = {"Status": {"State": "RUNNING"}}
        queries = [
            {"QueryExecutionId": "endless", "Query": endless, **running},
            {"QueryExecutionId": "other", "Query": "SELECT 1", **running},
        ]
        return {"QueryExecutions": queries}

    def stop_query_execution(self, *, QueryExecutionId: str) -> None:  # noqa: N803 - boto3's
        assert QueryExecutionId == "endless"
        self.queries_stopped += 1

    def get_paginator(self, _: str) -> "Stack":
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        self.unfinished -= 1
        last = "RUNNING" if self.unfinished >= 0 else "SUCCEEDED"
        ended = [{"status": "SUCCEEDED"}] * (len(self.inputs) - 1)
        return [{"executions": ended}, {"executions": [{"status": last}]}]


RunLoad = Callable[[Stack], str]


def run(stack: Stack) -> str:
    """Load the stack for ten minutes. Return what is printed."""
    printed = io.StringIO()
    load.run(Console(file=printed), stack, 10)  # type: ignore[arg-type] # what the load needs of a stack
    return printed.getvalue()


@pytest.fixture
def run_load(monkeypatch: pytest.MonkeyPatch) -> RunLoad:
    """`run` on a clock of the test's own."""
    clock = 0.0

    def sleep(seconds: float) -> None:
        nonlocal clock
        clock += seconds

    # The module's own name: other threads of this process sleep too.
    monkeypatch.setattr(load, "time", SimpleNamespace(monotonic=lambda: clock, sleep=sleep))
    return run


@pytest.fixture
def loaded(run_load: RunLoad) -> tuple[Stack, str]:
    """The stack after ten minutes, and what was printed."""
    stack = Stack()
    return stack, run_load(stack)


def test_an_execution_a_second_is_started(loaded: tuple[Stack, str]) -> None:
    stack, printed = loaded

    assert len(stack.inputs) == 600
    assert printed.endswith("600 SUCCEEDED\n")


def test_executions_that_do_not_end_are_not_waited_for_indefinitely(run_load: RunLoad) -> None:
    stack = Stack()
    stack.unfinished = 1_000_000

    assert run_load(stack).endswith("599 SUCCEEDED, 1 RUNNING\n")


def test_every_kind_of_outcome_is_caused(loaded: tuple[Stack, str]) -> None:
    stack, _ = loaded
    statements = Counter(one["QueryString"] for one in stack.inputs)

    assert len(statements) == len({"CAST", "SELEKT", "SELECT 1", "endless"}) + 6
    assert any("TimeoutSeconds" in one for one in stack.inputs)
    assert any(one.get("MaxAttempts") == 0 for one in stack.inputs)
    assert stack.stopped
    assert stack.queries_stopped
    assert stack.faults["TRANSIENT"]


def test_events_are_lost_for_a_while_and_arrive_in_the_end(loaded: tuple[Stack, str]) -> None:
    stack, _ = loaded

    assert stack.modes.index("off") == 180
    assert stack.modes.count("off") == 90
    assert stack.modes[-1] == "normal"


def test_athena_throttles_and_the_checker_crashes_in_their_phases(loaded: tuple[Stack, str]) -> None:
    stack, _ = loaded

    assert 0 < stack.faults["TooManyRequestsException"] <= 60 * 2
    assert 0 < stack.faults["checker 1 before"] <= 42
