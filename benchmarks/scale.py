"""Scale: many executions at once, on the local stack and in virtual time under AWS's quotas.

On the local stack this machine runs the callers, the emulator and all functions, so the rate is that of its
cores. Virtual time is the same on every machine.
"""

import json
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.drain import Drain, drain, drain_polling
from benchmarks.result import Result, Table
from local.stack import SETTINGS, Stack, temporary
from tests.simulation.soak import collect_seldom

EXECUTIONS = 500
GOAL_PER_SECOND = 20
GOAL_MIB = 1_024

IN_FLIGHT = (100, 1_000, 10_000)
GOAL_DRAIN = 1.1

# As on AWS by default: locally the fallback starts sooner.
_SETTINGS = {**SETTINGS, "patienceSeconds": "300", "pollSeconds": "30"}
# Execution environments stay warm while executions are counted.
_WARM = ("--idle-seconds", "900")
_LONGEST_SECONDS = 900
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def measure(*, small: bool) -> Result:
    """The small version has a few executions of each kind."""
    executions, in_flight = (10, (20,)) if small else (EXECUTIONS, IN_FLIGHT)
    with temporary(settings=_SETTINGS, emulator_options=_WARM) as stack:
        _run(stack, max(4, executions // 5))
        local = _run(stack, executions)
    largest = in_flight[-1]
    with ProcessPoolExecutor(os.cpu_count(), initializer=collect_seldom) as pool:
        # The longest ones first.
        with_retries = pool.submit(drain_polling, largest, retries=True)
        running = [pool.submit(drain, number) for number in reversed(in_flight)]
        plain = pool.submit(drain_polling, largest, retries=False)
        ours = [one.result() for one in reversed(running)]
    rows = [
        *(_row("this project", one) for one in ours),
        _row("polling, 30 s", plain.result()),
        _row("polling, 30 s, with retries", with_retries.result()),
    ]
    drained = all(one.succeeded == one.executions for one in ours)
    return Result(
        name="scale",
        tables=[
            Table(
                title=f"{executions} executions at once on the local stack, warm, {os.cpu_count()} cores",
                columns=[
                    *(
                        "succeeded",
                        "by event",
                        "by executor",
                        "by poll",
                        "seconds",
                        "a second",
                        "memory (MiB)",
                    ),
                    *("CPU ms: emulator", "functions", "load before"),
                ],
                rows=[local.row()],
            ),
            Table(
                title="Executions in flight under AWS's quotas, virtual time",
                columns=[
                    *("machine", "executions", "succeeded", "seconds", "bound of the quotas (s)", "ratio"),
                    *("throttles", "median lag (s)", "longest lag (s)"),
                ],
                rows=rows,
            ),
        ],
        figure=(
            f"{local.rate:.1f} a second, {local.lost} lost, {local.mebibytes:,.0f} MiB; "
            f"{largest:,} drained in {ours[-1].ratio:.2f} of the bound"
        ),
        goal=(
            f"{GOAL_PER_SECOND} a second, 0 lost, most without a poll, under {GOAL_MIB:,} MiB; "
            f"at most {GOAL_DRAIN}"
        ),
        held=local.held and drained and ours[-1].ratio <= GOAL_DRAIN,
    )


def _row(machine: str, one: Drain) -> list[str | int | float]:
    return [
        *(machine, one.executions, one.succeeded, round(one.seconds), round(one.bound), round(one.ratio, 2)),
        *(one.throttles, round(one.median_lag, 2), round(one.longest_lag, 2)),
    ]


@dataclass(frozen=True, kw_only=True)
class _Local:
    """`mebibytes` is the most memory, and the CPU times are per execution in seconds, of the emulator and of
    its execution environments. `settled_by` counts executions by what settled them: an executor does where
    the event arrived before its token. `load` is the load average before the first execution.
    """

    executions: int
    succeeded: int
    settled_by: Counter[str]
    seconds: float
    mebibytes: float
    emulator_cpu: float
    functions_cpu: float
    load: float

    @property
    def rate(self) -> float:
        return self.executions / self.seconds

    @property
    def lost(self) -> int:
        return self.executions - self.succeeded

    @property
    def held(self) -> bool:
        unpolled = self.settled_by["event"] + self.settled_by["executor"] > self.executions / 2
        return self.rate >= GOAL_PER_SECOND and not self.lost and unpolled and self.mebibytes < GOAL_MIB

    def row(self) -> list[int | float]:
        return [
            self.succeeded,
            *(self.settled_by[by] for by in ("event", "executor", "poll")),
            *(round(self.seconds, 1), round(self.rate, 1)),
            *(round(self.mebibytes), round(self.emulator_cpu * 1_000), round(self.functions_cpu * 1_000)),
            round(self.load, 1),
        ]


def _run(stack: Stack, executions: int) -> _Local:
    """Start executions from a few threads, and wait until all have ended."""
    stepfunctions = stack.client("stepfunctions")
    arn = stack.outputs["StateMachineArn"]

    def start(_number: int) -> str:
        started = stepfunctions.start_execution(stateMachineArn=arn, input='{"QueryString": "SELECT 1"}')
        execution_arn: str = started["executionArn"]
        return execution_arn

    load = os.getloadavg()[0]
    before = _usage(stack.pid)
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        waiting = list(pool.map(start, range(executions)))
    statuses: Counter[str] = Counter()
    settled_by: Counter[str] = Counter()
    mebibytes = 0.0
    while waiting and time.monotonic() < began + _LONGEST_SECONDS:
        mebibytes = max(mebibytes, _usage(stack.pid).mebibytes)
        execution = stepfunctions.describe_execution(executionArn=waiting[-1])
        if execution["status"] == "RUNNING":
            time.sleep(0.1)
            continue
        statuses[execution["status"]] += 1
        if execution["status"] == "SUCCEEDED":
            settled_by[json.loads(execution["output"])["SettledBy"]] += 1
        waiting.pop()
    seconds = time.monotonic() - began
    after = _usage(stack.pid)
    return _Local(
        executions=executions,
        succeeded=statuses["SUCCEEDED"],
        settled_by=settled_by,
        seconds=seconds,
        mebibytes=mebibytes,
        emulator_cpu=(after.emulator_cpu - before.emulator_cpu) / executions,
        functions_cpu=(after.functions_cpu - before.functions_cpu) / executions,
        load=load,
    )


@dataclass(frozen=True, kw_only=True)
class _Usage:
    mebibytes: float
    emulator_cpu: float
    functions_cpu: float


def _usage(emulator: int) -> _Usage:
    """Of the emulator and its execution environments, which are one session of processes: proc(5)."""
    mebibytes = emulator_cpu = functions_cpu = 0.0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # The fields after the command's name, which may hold blanks; the session is the sixth of all.
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) != emulator:
                continue
            mebibytes += int((process / "statm").read_text().split()[1]) * _PAGE_BYTES / 1024**2
        except OSError:
            continue
        own, of_ended_children = (sum(map(int, fields[n : n + 2])) / _TICKS for n in (11, 13))
        if int(process.name) == emulator:
            emulator_cpu += own
            functions_cpu += of_ended_children
        else:
            functions_cpu += own
    return _Usage(mebibytes=mebibytes, emulator_cpu=emulator_cpu, functions_cpu=functions_cpu)
