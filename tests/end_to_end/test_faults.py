"""Functions that crash at an AWS call, and every fault at once: each execution has the true outcome."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from local import stack as local_stack
from tests.end_to_end.conftest import Deployment, Eventually

COUNT = {"QueryString": "SELECT count(*) AS flights FROM flights"}

# The executor calls UpdateItem (announce), StartQueryExecution, UpdateItem (register), UpdateItem (token);
# the checker UpdateItem (state), GetQueryExecution, SendTaskSuccess, UpdateItem (remove the token).
CRASHES = [
    (function, call, when)
    for function in ("executor", "checker")
    for call in (1, 2, 3, 4)
    for when in ("before", "after")
]


@pytest.mark.parametrize(("function", "call", "when"), CRASHES)
def test_a_crash_at_any_call_changes_nothing(
    deployment: Deployment, eventually: Eventually, function: str, call: int, when: str
) -> None:
    crashes = deployment.stack.injected_faults().get("killed", 0)
    deployment.stack.inject_crash(function, call, when)
    queries = deployment.query_ids()

    run = deployment.run(COUNT)

    # The checker's last call comes after the callback, so the execution may end before the crash.
    eventually(lambda: deployment.stack.injected_faults().get("killed") == crashes + 1)
    eventually(lambda: deployment.stack.pending_events() == 0)
    assert run.status == "SUCCEEDED"
    assert run.output is not None
    assert deployment.query(run.output["QueryId"])["Status"]["State"] == "SUCCEEDED"
    assert deployment.query_ids() - queries == {run.output["QueryId"]}


# UpdateItem (mark as ended), GetQueryExecution, StopQueryExecution.
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_crash_of_the_canceller_leaves_nothing_running(
    deployment: Deployment, eventually: Eventually, call: int, when: str
) -> None:
    arn = deployment.start({"QueryString": deployment.slow_query()})
    query_id = eventually(lambda: deployment.running_queries(arn))[0]
    deployment.stack.inject_crash("canceller", call, when)

    deployment.client("stepfunctions").stop_execution(executionArn=arn)

    eventually(lambda: deployment.query(query_id)["Status"]["State"] == "CANCELLED")


@pytest.fixture(scope="module")
def chaotic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    own = local_stack.share(tmp_path_factory.mktemp("chaos"))
    started = local_stack.up(home=own, chaos="drop=0.3,duplicate=0.2,delay=0-2s,early=0.2,crash=0.1,seed=7")
    yield Deployment(stack=started)
    local_stack.down(own)


def test_a_hundred_queries_at_once_under_every_fault_have_their_true_outcomes(
    chaotic: Deployment, eventually: Eventually
) -> None:
    """A third of them fails or is cancelled. Each execution reports what Athena reports of its query."""
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

    # Executions end one by one, however slow the machine is.
    eventually(all_ended, progress=lambda: len(ended), seconds=180)
    eventually(lambda: chaotic.stack.pending_events() == 0)

    outcomes = Counter(chaotic.reported_and_actual(ended[arn]) for arn in arns)
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
