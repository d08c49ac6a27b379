"""State transitions of a batch, counted in the histories of a batch on the local stack.

A query's own cost is that of benchmarks/cost.py for a query of a minute whose event arrives. The functions of
the batch run for a few seconds and are left out.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from benchmarks import cost
from benchmarks.result import Result, Table
from benchmarks.work import MINUTE
from local.stack import SETTINGS, temporary
from ops.execution import follow, start

QUERIES = 20
GOAL_TRANSITIONS = 3
_THOUSAND = 1_000


def measure(*, small: bool) -> Result:
    queries = 4 if small else QUERIES
    # Without polls, which a busy machine may need.
    with temporary(settings={**SETTINGS, "patienceSeconds": "600"}) as stack:
        stepfunctions = stack.client("stepfunctions")
        document = {"Queries": [{"QueryString": f"SELECT {number} AS n"} for number in range(queries)]}
        ended = follow(stepfunctions, start(stepfunctions, stack.outputs["BatchStateMachineArn"], document))
        if ended.output is None or ended.output["Succeeded"] != queries:
            raise RuntimeError(f"the batch ended with {ended.error or json.dumps(ended.output)}")
        counts = Counter({"batch": _states(stepfunctions, ended.arn)})
        for kind, arn in _nested(stepfunctions, ended.arn, stack.outputs["StateMachineArn"]):
            counts[kind] += _states(stepfunctions, arn)
    for_each = (counts["child execution"] + counts["query"]) / queries
    transition = cost.PRICES["state transition"] / 1e6
    alone = cost.ours(MINUTE, event_arrives=True) / 1e6
    rows: list[list[Any]] = [
        ["a query alone", counts["query"] / queries, round(alone * _THOUSAND, 4)],
        [
            "a query in a batch",
            for_each,
            round((alone + counts["child execution"] / queries * transition) * _THOUSAND, 4),
        ],
        ["the batch itself", counts["batch"], round(counts["batch"] * transition * _THOUSAND, 4)],
    ]
    return Result(
        name="batch",
        tables=[
            Table(
                title=f"State transitions of a batch of {queries} queries",
                columns=["of", "transitions", "USD per 1,000"],
                rows=rows,
            )
        ],
        figure=f"{for_each:g} transitions for each query",
        goal=f"{GOAL_TRANSITIONS}",
        held=for_each <= GOAL_TRANSITIONS,
    )


def _nested(stepfunctions: Any, batch_arn: str, machine_arn: str) -> Iterator[tuple[str, str]]:
    """The child executions of the batch, and the executions of its queries."""
    for map_run in stepfunctions.list_map_runs(executionArn=batch_arn)["mapRuns"]:
        for child in stepfunctions.list_executions(mapRunArn=map_run["mapRunArn"])["executions"]:
            yield "child execution", child["executionArn"]
    name = batch_arn.rpartition(":")[2]
    for one in stepfunctions.list_executions(stateMachineArn=machine_arn)["executions"]:
        if one["name"].startswith(f"{name}-"):
            yield "query", one["executionArn"]


def _states(stepfunctions: Any, arn: str) -> int:
    """The states that an execution has entered; each is a transition."""
    pages = stepfunctions.get_paginator("get_execution_history").paginate(executionArn=arn)
    return sum("stateEnteredEventDetails" in event for page in pages for event in page["events"])
