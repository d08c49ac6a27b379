"""Functions that die at an AWS call, and everything at once: the execution still ends right."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from local import stack as local_stack
from tests.end_to_end.conftest import Aws, Eventually, share

COUNT = {"QueryString": "SELECT count(*) AS flights FROM flights"}

# The executor calls UpdateItem (announce), StartQueryExecution, UpdateItem (register), UpdateItem (token);
# the checker UpdateItem (state), GetQueryExecution, SendTaskSuccess, UpdateItem (forget).
DEATHS = [
    (function, call, when)
    for function in ("executor", "checker")
    for call in (1, 2, 3, 4)
    for when in ("before", "after")
]


@pytest.mark.parametrize(("function", "call", "when"), DEATHS)
def test_a_function_killed_at_a_call_changes_nothing(aws: Aws, function: str, call: int, when: str) -> None:
    deaths = aws.stack.injected_faults().get("killed", 0)
    aws.stack.inject_crash(function, call, when)
    queries = aws.query_ids()

    run = aws.run(COUNT)

    assert aws.stack.injected_faults()["killed"] == deaths + 1
    assert run.status == "SUCCEEDED"
    assert run.output is not None
    assert aws.query(run.output["QueryId"])["Status"]["State"] == "SUCCEEDED"
    assert aws.query_ids() - queries == {run.output["QueryId"]}


# UpdateItem (gone), GetQueryExecution, StopQueryExecution.
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_killed_canceller_still_leaves_nothing_running(
    aws: Aws, eventually: Eventually, call: int, when: str
) -> None:
    arn = aws.start({"QueryString": aws.slow_query()})
    query_id = eventually(lambda: aws.running_queries(arn))[0]
    aws.stack.inject_crash("canceller", call, when)

    aws.client("stepfunctions").stop_execution(executionArn=arn)

    eventually(lambda: aws.query(query_id)["Status"]["State"] == "CANCELLED")


@pytest.fixture(scope="module")
def chaotic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    own = share(tmp_path_factory.mktemp("chaos"))
    started = local_stack.up(home=own, chaos="drop=0.3,duplicate=0.2,delay=0-2s,early=0.2,crash=0.1,seed=7")
    yield Aws(stack=started)
    local_stack.down(own)


def test_a_hundred_queries_at_once_under_every_fault_end_right(chaotic: Aws, eventually: Eventually) -> None:
    """A third of them fails or is cancelled. Each execution tells what Athena tells of its query."""
    statements = (
        "SELECT count(*) FROM flights WHERE month = {n}",
        "SELECT carrier, avg(dep_delay) FROM flights WHERE day > {n} GROUP BY carrier",
        "SELECT CAST(tailnum AS integer) FROM flights WHERE flight > {n}",
        "SELECT name FROM airlines ORDER BY name LIMIT {n}",
        chaotic.slow_query() + " AND a.distance > {n}",
        "SELECT max(temp) FROM weather WHERE hour < {n}",
    )
    stepfunctions = chaotic.client("stepfunctions")
    arns = [
        chaotic.start({"QueryString": statements[n % len(statements)].format(n=n + 1)}) for n in range(100)
    ]
    slow = arns[4 :: len(statements)]
    ended: dict[str, Any] = {}

    def all_ended() -> bool:
        for query_id in chaotic.query_ids():
            query = chaotic.query(query_id)
            if "flights c" in query["Query"] and "CompletionDateTime" not in query["Status"]:
                chaotic.client("athena").stop_query_execution(QueryExecutionId=query_id)
        for arn in arns:
            if arn not in ended:
                answer = stepfunctions.describe_execution(executionArn=arn)
                if answer["status"] != "RUNNING":
                    ended[arn] = answer
        return len(ended) == len(arns)

    eventually(all_ended, seconds=300)

    outcomes = Counter(chaotic.told_and_true(ended[arn]) for arn in arns)
    assert outcomes == Counter(
        {
            ("SUCCEEDED", "SUCCEEDED"): 100 - len(slow) - len(arns[2 :: len(statements)]),
            ("AthenaQuery.Failed", "FAILED"): len(arns[2 :: len(statements)]),
            ("AthenaQuery.Cancelled", "CANCELLED"): len(slow),
        }
    )
    left = [one for one in chaotic.query_ids() if "CompletionDateTime" not in chaotic.query(one)["Status"]]
    assert left == []
    assert len(chaotic.query_ids()) == len(arns)
    assert chaotic.dead_letters() == []
    faults = chaotic.stack.injected_faults()
    assert all(faults.get(kind) for kind in ("drop", "duplicate", "early", "crash")), faults
