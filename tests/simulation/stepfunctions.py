"""The Step Functions client as the functions use it: callbacks, DescribeExecution and ListExecutions."""

# ruff: noqa: N803 — arguments are named as botocore names them

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from tests.simulation.athena import Pages
from tests.simulation.clock import Clock
from tests.simulation.interpreter import (
    CAUSE_CHARACTERS,
    ERROR_CHARACTERS,
    OUTPUT_BYTES,
    Execution,
    Run,
    StateMachine,
)
from tests.simulation.lambdas import Invocation, Lambdas, Outcome, refusal


@dataclass(frozen=True, kw_only=True)
class Callback:
    """A callback that a waiting task received. `document` is its output or its cause."""

    at: float
    execution: Execution
    run: Run
    invocation: Invocation
    error: str
    document: Mapping[str, Any]

    @property
    def query_id(self) -> str | None:
        return self.document.get("QueryId")


class StepFunctions:
    """`callbacks` holds each callback that a task received, `sent` the token of each that was sent, after the
    serial number of the invocation that sent it.

    `answers_lag` is how many seconds DescribeExecution and ListExecutions lag behind.
    """

    def __init__(self, machine: StateMachine, *, clock: Clock, lambdas: Lambdas, answers_lag: float) -> None:
        self.callbacks: list[Callback] = []
        self.sent: set[tuple[int, str]] = set()
        self._machine = machine
        self._clock = clock
        self._lambdas = lambdas
        self._answers_lag = answers_lag

    def send_task_success(self, *, taskToken: str, output: str) -> dict[str, Any]:
        if len(output.encode()) > OUTPUT_BYTES:
            raise refusal("SendTaskSuccess", "InvalidOutput")
        document = json.loads(output)
        return self._send("SendTaskSuccess", taskToken, Outcome(value=document), document)

    def send_task_failure(self, *, taskToken: str, error: str, cause: str) -> dict[str, Any]:
        if len(error) > ERROR_CHARACTERS or len(cause) > CAUSE_CHARACTERS:
            raise refusal("SendTaskFailure", "ValidationException")
        return self._send("SendTaskFailure", taskToken, Outcome(error=error, cause=cause), json.loads(cause))

    def _send(
        self, operation: str, token: str, outcome: Outcome, document: Mapping[str, Any]
    ) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            invocation = self._lambdas.current
            assert invocation is not None, "only functions send callbacks"
            self.sent.add((invocation.serial, token))
            execution = self._machine.waiting(token)
            run = execution.run
            self.callbacks.append(
                Callback(
                    at=self._clock.now,
                    execution=execution,
                    run=run,
                    invocation=invocation,
                    error=outcome.error or "",
                    document=document,
                )
            )
            self._machine.settle(token, outcome)
            return {}

        return self._lambdas.call("Step Functions callbacks", operation, effect, outcome.error or "success")

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            for execution in self._machine.executions:
                if execution.arn == executionArn:
                    return _description(execution, self._shown(execution) or (execution.runs[0], "RUNNING"))
            raise refusal("DescribeExecution", "ExecutionDoesNotExist")

        return self._lambdas.call("Step Functions", "DescribeExecution", effect, executionArn[-24:])

    def get_paginator(self, operation: str) -> Pages:
        return Pages({"list_executions": self._list}[operation])

    def _list(
        self,
        *,
        stateMachineArn: str,
        statusFilter: str | None = None,
        PaginationConfig: Mapping[str, int] | None = None,
    ) -> Iterator[dict[str, Any]]:
        if stateMachineArn != self._machine.arn:
            raise refusal("ListExecutions", "StateMachineDoesNotExist")
        if PaginationConfig and PaginationConfig["PageSize"] > 1_000:
            raise refusal("ListExecutions", "ValidationException")
        # A page may hold fewer executions than there is room for.
        size = 1

        def effect(start: int) -> dict[str, Any]:
            shown = ((execution, self._shown(execution)) for execution in self._machine.executions)
            found = [
                _summary(execution, run_and_status)
                for execution, run_and_status in shown
                if run_and_status is not None
            ]
            found = [one for one in found if statusFilter in {None, one["status"]}]
            found.sort(key=lambda one: one.get("stopDate") or one.get("redriveDate") or one["startDate"])
            page = found[::-1][start : start + size]
            more = {"nextToken": "more"} if start + size < len(found) else {}
            return {"executions": page, **more}

        start = 0
        while True:
            page = self._lambdas.call(
                "Step Functions", "ListExecutions", partial(effect, start), statusFilter or ""
            )
            yield page
            if "nextToken" not in page:
                return
            start += size

    def _shown(self, execution: Execution) -> tuple[Run, str] | None:
        """The run and the status that answers show: those of `answers_lag` seconds ago; None before its
        start.
        """
        then = self._clock.now - self._answers_lag
        for run in reversed(execution.runs):
            if run.began <= then:
                ended = run.end is not None and run.end.at <= then
                return run, run.end.status if ended and run.end else "RUNNING"
        return None


def _summary(execution: Execution, shown: tuple[Run, str]) -> dict[str, Any]:
    run, status = shown
    summary: dict[str, Any] = {
        "executionArn": execution.arn,
        "name": execution.arn.rpartition(":")[2],
        "status": status,
        "startDate": _utc(execution.runs[0].began),
        "redriveCount": run.redrive_count,
    }
    if status != "RUNNING" and run.end is not None:
        summary["stopDate"] = _utc(run.end.at)
    if run.redrive_count:
        summary["redriveDate"] = _utc(run.began)
    return summary


def _description(execution: Execution, shown: tuple[Run, str]) -> dict[str, Any]:
    run, status = shown
    description = {**_summary(execution, shown), "input": json.dumps(execution.input)}
    if status != "RUNNING" and run.end is not None and run.end.error:
        description |= {"error": run.end.error, "cause": run.end.cause}
    return description


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
