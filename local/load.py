"""The command `load`: executions of every outcome, and a dashboard that shows them."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

from local.stack import Stack
from ops.execution import follow, start, stop

if TYPE_CHECKING:
    from mypy_boto3_athena import AthenaClient
    from mypy_boto3_stepfunctions import SFNClient

_SECONDS_BETWEEN_STARTS = 1.0
_DRAIN_SECONDS = 120

# Runs until it is stopped.
_ENDLESS = "SELECT count(*) FROM flights a, flights b, flights c WHERE a.dep_time + b.dep_time > c.dep_time"

_STATEMENTS = (
    "SELECT count(*) FROM flights",
    "SELECT carrier, avg(dep_delay) FROM flights GROUP BY carrier",
    "SELECT dest, approx_percentile(arr_delay, 0.9) FROM flights GROUP BY dest",
    "SELECT p.manufacturer, count(*) FROM flights f JOIN planes p ON p.tailnum = f.tailnum GROUP BY 1",
    "SELECT origin, avg(temp) FROM weather GROUP BY origin",
    "SELECT name FROM airlines",
)

# How often each kind of execution is started, in percent.
_KINDS = {
    "succeeded": 82,
    "failed": 5,
    "rejected": 3,
    "transient": 3,
    "invalid": 2,
    "timed out": 2,
    "aborted": 2,
    "cancelled": 1,
}

# What happens after which share of the time.
_PHASES = (
    (0.0, "normal"),
    (0.3, "events lost"),
    (0.45, "normal"),
    (0.6, "throttled"),
    (0.7, "normal"),
    (0.85, "crashing"),
    (0.92, "normal"),
)
_THROTTLED_SHARE = 0.5
# botocore makes two attempts at each call of the functions (functions/runtime.py).
_REFUSALS = 2
_CRASHING_SHARE = 0.3


def warm_up(stack: Stack) -> None:
    """Run every statement once, so that cold starts are not what the dashboard shows."""
    stepfunctions = stack.client("stepfunctions")
    for statement in _STATEMENTS:
        follow(
            stepfunctions, start(stepfunctions, stack.outputs["StateMachineArn"], {"QueryString": statement})
        )


def run(console: Console, stack: Stack, minutes: float) -> None:
    """Start one execution a second for that time, wait for all to end, and print the counts by outcome."""
    load = _Load(stack)
    with Progress(console=console) as progress:
        task = progress.add_task("starting executions", total=1)
        for share in _seconds(minutes * 60):
            load.step(share)
            progress.update(task, completed=share)
        progress.update(task, completed=1, description="waiting for the last ones")
        stack.deliver_events("normal")
        statuses = load.wait()
    console.print(", ".join(f"{count} {status}" for status, count in statuses.most_common()))


def _seconds(total: float) -> Iterator[float]:
    """The share of the time that has passed, once for each start."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < total:
        yield passed / total
        time.sleep(max(0.0, _SECONDS_BETWEEN_STARTS - (time.monotonic() - began - passed)))


class _Load:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._stepfunctions: SFNClient = stack.client("stepfunctions")
        self._athena: AthenaClient = stack.client("athena")
        # The same load each time.
        self._random = random.Random(1)  # noqa: S311 - no secret
        self._to_abort: str | None = None
        self._to_cancel = False

    def step(self, share: float) -> None:
        """Abort or cancel what the previous step started for that purpose, then start one execution."""
        phase = [name for begin, name in _PHASES if begin <= share][-1]
        self._stack.deliver_events("off" if phase == "events lost" else "normal")
        if self._to_abort:
            stop(self._stepfunctions, self._to_abort)
        if self._to_cancel:
            self._cancel_queries()
        if phase == "throttled" and self._random.random() < _THROTTLED_SHARE:
            for _ in range(_REFUSALS):
                self._stack.inject_athena_error("TooManyRequestsException")
        if phase == "crashing" and self._random.random() < _CRASHING_SHARE:
            self._stack.inject_crash("checker", 1, "before")
        kind = self._random.choices(list(_KINDS), list(_KINDS.values()))[0]
        if kind == "transient":
            self._stack.inject_athena_error("TRANSIENT")
        arn = start(self._stepfunctions, self._stack.outputs["StateMachineArn"], self._input(kind))
        self._to_abort = arn if kind == "aborted" else None
        self._to_cancel = kind == "cancelled"

    def _input(self, kind: str) -> dict[str, Any]:
        match kind:
            case "failed":
                return {"QueryString": "SELECT CAST(tailnum AS integer) FROM flights"}
            case "rejected":
                return {"QueryString": "SELEKT origin FROM flights"}
            case "invalid":
                return {"QueryString": "SELECT 1", "MaxAttempts": 0}
            case "timed out":
                return {"QueryString": _ENDLESS, "TimeoutSeconds": 2}
            case "aborted" | "cancelled":
                return {"QueryString": _ENDLESS}
        return {"QueryString": self._random.choice(_STATEMENTS)}

    def _cancel_queries(self) -> None:
        """Stop the endless queries in Athena, as a user of its console would."""
        ids = self._athena.list_query_executions(WorkGroup=self._stack.outputs["WorkGroupName"])
        queries = self._athena.batch_get_query_execution(QueryExecutionIds=ids["QueryExecutionIds"])
        for query in queries["QueryExecutions"]:
            if query["Query"] == _ENDLESS and query["Status"]["State"] == "RUNNING":
                self._athena.stop_query_execution(QueryExecutionId=query["QueryExecutionId"])

    def wait(self) -> Counter[str]:
        """Wait until no execution runs, and count all of them by their status."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        while (statuses := self._statuses())["RUNNING"] and time.monotonic() < deadline:
            time.sleep(1)
        return statuses

    def _statuses(self) -> Counter[str]:
        pages = self._stepfunctions.get_paginator("list_executions").paginate(
            stateMachineArn=self._stack.outputs["StateMachineArn"]
        )
        return Counter(one["status"] for page in pages for one in page["executions"])
