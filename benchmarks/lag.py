"""Lag on the local stack, from a query's completion to the end of its execution, and of the polling design.

The polling state machine (benchmarks/original/) is deployed to the same stack twice, with a wait of 30 s and
of 5 s. All three run the same queries at the same time, in rounds of one duration. A duration of 5 s or more
is extended by up to 5 s at random. The emulator's trace shows where the time of this project's lag goes.
"""

import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from benchmarks.plot import draw
from benchmarks.result import RESULTS, Result, Table
from local.stack import SETTINGS, Stack, temporary

TEMPLATE = Path(__file__).parent / "original" / "template.yaml"
DURATIONS = (0.2, 1.0, 5.0, 20.0, 60.0)
POLLING = (30, 5)
# Of each machine at once: together they stay below the queries that the local Athena runs in parallel.
AT_ONCE = 2
ROUNDS = 1
GOALS = {30: 1 / 1000, 5: 1 / 100}
GOAL_LONGEST_SECONDS = 0.5
_LONGEST_SECONDS = 300

# Execution environments stay warm between the rounds, as they do on Lambda for minutes.
_WARM = ("--environments", "24", "--idle-seconds", "900")

# As on AWS by default: locally the fallback starts sooner.
_SETTINGS = {**SETTINGS, "patienceSeconds": "300", "pollSeconds": "30"}


# What the steps of the emulator's trace are for a reader, in their order.
_STEPS = {
    "requested": "event: from the completion to the checker's invocation",
    "started": "wait for a warm environment",
    "received UpdateItem": "function start: to its first call",
    "answered UpdateItem": "UpdateItem (rendezvous)",
    "received GetQueryExecution": "function",
    "answered GetQueryExecution": "GetQueryExecution",
    "received SendTaskSuccess": "function: output",
    "ended": "SendTaskSuccess, to the end of the execution",
}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """An execution and its query. Times are in epoch seconds."""

    query_id: str
    completed: float
    stopped: float

    @property
    def lag(self) -> float:
        return self.stopped - self.completed


def measure(*, small: bool) -> Result:
    """The small version has one short round, beside a polling machine with a wait of a second."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.jsonl"
        return _measure(trace, small=small)


def _measure(trace: Path, *, small: bool) -> Result:
    durations, polling, rounds = ((0.2,), (1,), 1) if small else (DURATIONS, POLLING, ROUNDS)
    options = (*_WARM, "--trace", str(trace))
    with temporary(settings=_SETTINGS, emulator_options=options) as stack:
        machines = {"ours": stack.outputs["StateMachineArn"]}
        for seconds in polling:
            machines[f"polling, {seconds} s"] = _deploy(stack, seconds)
        for arn in machines.values():
            # Warm functions.
            _run(stack, arn, AT_ONCE)
        draw_phase = random.Random(1)  # noqa: S311 - not for security
        lags: dict[str, dict[float, list[float]]] = {name: {} for name in machines}
        ours: list[Ended] = []
        for duration in durations * rounds:
            # The lag of a poll depends on its phase, which must not follow from round numbers.
            phase = draw_phase.uniform(0, polling[-1]) if duration >= polling[-1] else 0.0
            stack.hold_queries(duration + phase)
            with ThreadPoolExecutor(len(machines)) as pool:
                runs = {name: pool.submit(_run, stack, arn, AT_ONCE) for name, arn in machines.items()}
            for name, run in runs.items():
                lags[name].setdefault(duration, []).extend(one.lag for one in run.result())
            ours += runs["ours"].result()
    return _result(lags, polling, _break_down(ours, trace), small=small)


def _break_down(executions: list[Ended], trace: Path) -> Table:
    """The median of each step between the completion of a query and the end of its execution."""
    steps = _traced_steps(trace)
    # The others were settled by the executor: their event was before their token.
    executions = [one for one in executions if one.query_id in steps]
    seconds: dict[str, list[float]] = {name: [] for name in _STEPS}
    for one in executions:
        times = [("completed", one.completed), *steps[one.query_id], ("ended", one.stopped)]
        for (_, since), (name, at) in pairwise(times):
            seconds[name].append(at - since)
    rows = [[_STEPS[name], round(statistics.median(spent) * 1_000, 1)] for name, spent in seconds.items()]
    rows.append(["whole lag", round(statistics.median(one.lag for one in executions) * 1_000, 1)])
    return Table(
        title=f"Steps of this project's lag, median of {len(executions)} executions",
        columns=["step", "milliseconds"],
        rows=rows,
    )


def _traced_steps(trace: Path) -> dict[str, list[tuple[str, float]]]:
    """By query, the steps of the first invocation for it up to its callback, each with its time."""
    by_query: dict[str, list[tuple[str, float]]] = {}
    for invocation in _invocations(trace):
        query_id = invocation[0][2]
        if query_id and query_id not in by_query:
            names = [name for name, _, _ in invocation]
            if "received SendTaskSuccess" in names:
                until = names.index("received SendTaskSuccess") + 1
                by_query[query_id] = [(name, at) for name, at, _ in invocation[:until]]
    return by_query


def _invocations(trace: Path) -> Iterator[list[tuple[str, float, str | None]]]:
    """Each invocation's steps with their times and, for its request, the query's id."""
    open_: dict[str, list[tuple[str, float, str | None]]] = {}
    for at, environment, step, *query_id in map(json.loads, trace.read_text().splitlines()):
        if step == "requested":
            if environment in open_:
                yield open_[environment]
            open_[environment] = [(step, at, query_id[0])]
        elif environment in open_:
            open_[environment].append((step, at, None))
    yield from open_.values()


def _result(
    lags: dict[str, dict[float, list[float]]], polling: tuple[int, ...], steps: Table, *, small: bool
) -> Result:
    rows = []
    for duration in lags["ours"]:
        of_round = [statistics.median(by_duration[duration]) for by_duration in lags.values()]
        rows.append([f"{duration:g}", *(round(median, 3) for median in of_round)])
    everything = {name: sorted(chain.from_iterable(one.values())) for name, one in lags.items()}
    medians = {name: statistics.median(one) for name, one in everything.items()}
    rows.append(["all", *(round(median, 3) for median in medians.values())])
    rows.append(["longest", *(round(one[-1], 3) for one in everything.values())])
    ratios = {seconds: medians["ours"] / medians[f"polling, {seconds} s"] for seconds in polling}
    worst = everything["ours"][-1]
    if not small:
        draw(
            RESULTS / "lag.png",
            title="Lag after the query's completion, local stack (median)",
            x=("Query duration (s)", list(lags["ours"])),
            y=("Lag (s)", {n: [statistics.median(v) for v in one.values()] for n, one in lags.items()}),
        )
    return Result(
        name="lag",
        tables=[
            Table(
                title=f"Median lag in seconds; {len(everything['ours'])} executions of each machine",
                columns=["query runs for (s)", *lags],
                rows=rows,
            ),
            steps,
        ],
        figure=", ".join(
            [
                *(f"1/{1 / ratio:,.0f} of polling every {s} s" for s, ratio in ratios.items()),
                f"longest {worst:.3f} s",
            ]
        ),
        goal=f"1/1,000, 1/100, longest under {GOAL_LONGEST_SECONDS} s",
        held=all(ratio <= GOALS.get(s, 1) for s, ratio in ratios.items()) and worst < GOAL_LONGEST_SECONDS,
    )


def _deploy(stack: Stack, wait_seconds: int) -> str:
    """Deploy the polling machine and return its ARN."""
    cloudformation = stack.client("cloudformation")
    name = f"Polling{wait_seconds}"
    parameters = {"Name": name, "WorkGroup": stack.name, "WaitSeconds": str(wait_seconds)}
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=TEMPLATE.read_text(),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    (described,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    arn: str = described["Outputs"][0]["OutputValue"]
    return arn


def _run(stack: Stack, state_machine_arn: str, count: int) -> list[Ended]:
    """Run queries at once, until their executions have ended."""
    stepfunctions, athena = stack.client("stepfunctions"), stack.client("athena")
    started = [
        stepfunctions.start_execution(stateMachineArn=state_machine_arn, input='{"QueryString": "SELECT 1"}')
        for _ in range(count)
    ]
    return [_wait(stepfunctions, athena, one["executionArn"]) for one in started]


def _wait(stepfunctions: Any, athena: Any, execution_arn: str) -> Ended:
    deadline = time.monotonic() + _LONGEST_SECONDS
    while (execution := stepfunctions.describe_execution(executionArn=execution_arn))["status"] == "RUNNING":
        if time.monotonic() > deadline:
            raise AssertionError(f"{execution_arn} did not end")
        time.sleep(0.2)
    if execution["status"] != "SUCCEEDED":
        raise AssertionError(f"{execution_arn} ended as {execution['status']}: {execution.get('cause')}")
    query_id = json.loads(execution["output"])["QueryId"]
    query = athena.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
    return Ended(
        query_id=query_id,
        completed=query["Status"]["CompletionDateTime"].timestamp(),
        stopped=execution["stopDate"].timestamp(),
    )
