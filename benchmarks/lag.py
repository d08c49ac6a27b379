"""Lag on the local stack, from a query's completion to the end of its execution, and of the polling design.

The polling state machine (benchmarks/original/) is deployed to the same stack twice, with a wait of 30 s and
of 5 s. All three run the same queries at the same time, in rounds of one duration. A duration of 5 s or more
is extended by up to 5 s at random.
"""

import json
import random
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
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


def measure(*, small: bool) -> Result:
    """The small version has one short round, beside a polling machine with a wait of a second."""
    durations, polling, rounds = ((0.2,), (1,), 1) if small else (DURATIONS, POLLING, ROUNDS)
    with temporary(settings=_SETTINGS, emulator_options=_WARM) as stack:
        machines = {"ours": stack.outputs["StateMachineArn"]}
        for seconds in polling:
            machines[f"polling, {seconds} s"] = _deploy(stack, seconds)
        for arn in machines.values():
            # Warm functions.
            _run(stack, arn, AT_ONCE)
        draw_phase = random.Random(1)  # noqa: S311 - not for security
        lags: dict[str, dict[float, list[float]]] = {name: {} for name in machines}
        for duration in durations * rounds:
            # The lag of a poll depends on its phase, which must not follow from round numbers.
            phase = draw_phase.uniform(0, polling[-1]) if duration >= polling[-1] else 0.0
            stack.hold_queries(duration + phase)
            with ThreadPoolExecutor(len(machines)) as pool:
                runs = {name: pool.submit(_run, stack, arn, AT_ONCE) for name, arn in machines.items()}
            for name, run in runs.items():
                lags[name].setdefault(duration, []).extend(run.result())
    return _result(lags, polling, small=small)


def _result(lags: dict[str, dict[float, list[float]]], polling: tuple[int, ...], *, small: bool) -> Result:
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
            )
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


def _run(stack: Stack, state_machine_arn: str, count: int) -> list[float]:
    """Run queries at once; return the lag of each in seconds."""
    stepfunctions, athena = stack.client("stepfunctions"), stack.client("athena")
    started = [
        stepfunctions.start_execution(stateMachineArn=state_machine_arn, input='{"QueryString": "SELECT 1"}')
        for _ in range(count)
    ]
    return [_lag(stepfunctions, athena, one["executionArn"]) for one in started]


def _lag(stepfunctions: Any, athena: Any, execution_arn: str) -> float:
    deadline = time.monotonic() + _LONGEST_SECONDS
    while (execution := stepfunctions.describe_execution(executionArn=execution_arn))["status"] == "RUNNING":
        if time.monotonic() > deadline:
            raise AssertionError(f"{execution_arn} did not end")
        time.sleep(0.2)
    if execution["status"] != "SUCCEEDED":
        raise AssertionError(f"{execution_arn} ended as {execution['status']}: {execution.get('cause')}")
    query_id = json.loads(execution["output"])["QueryId"]
    query = athena.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
    lag: float = (execution["stopDate"] - query["Status"]["CompletionDateTime"]).total_seconds()
    return lag
