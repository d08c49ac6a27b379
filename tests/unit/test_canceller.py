"""The canceller: what it stops, how it resolves an unconfirmed start, and what a sweep cleans up."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions import canceller
from functions.errors import ServiceFault
from tests.unit.conftest import NOW, STATE_MACHINE, Stubbed
from tests.unit.samples import (
    EXECUTION,
    OTHER_QUERY,
    QUERY,
    SQL,
    announced,
    claim_request,
    execution_event,
    query_execution,
    start_request,
    started,
    waiting,
)

GET = {"QueryExecutionId": QUERY}
CLEANED_UP = {"Gone/0": {"BOOL": True}, "CleanedUp/0": {"BOOL": True}}
ABORTED = execution_event("ABORTED")


def expect_description(stubbed: Stubbed, **changes: Any) -> None:
    description = {
        "executionArn": EXECUTION,
        "stateMachineArn": STATE_MACHINE,
        "status": "ABORTED",
        "startDate": datetime.fromtimestamp(NOW, UTC),
        "input": json.dumps({"QueryString": SQL}),
        **changes,
    }
    stubbed.expect("DescribeExecution", {"executionArn": EXECUTION}, description)


def test_running_queries_are_stopped(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, started())
    stubbed.expect("GetQueryExecution", GET, query_execution("RUNNING"))
    stubbed.expect("StopQueryExecution", GET)

    canceller.run(ABORTED, stubbed.runtime)

    assert stubbed.item(EXECUTION) == {**started(), **CLEANED_UP}
    assert stubbed.item(QUERY) == {"StopRequested": {"BOOL": True}}


def test_ended_queries_are_not_stopped(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, started())
    stubbed.expect("GetQueryExecution", GET, query_execution("FAILED"))

    canceller.run(ABORTED, stubbed.runtime)

    assert stubbed.item(QUERY) == {}


@pytest.mark.parametrize(
    "item",
    [
        started(redrive_count=1),
        {**started(), **started(entry="2", redrive_count=1)},
        announced(redrive_count=1),
    ],
)
def test_queries_of_a_later_redrive_and_adopted_queries_continue(
    stubbed: Stubbed, item: dict[str, Any]
) -> None:
    stubbed.put_item(EXECUTION, item)

    canceller.run(ABORTED, stubbed.runtime)


def test_a_start_that_started_nothing_is_claimed(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, announced())
    expect_description(stubbed)
    stubbed.expect("StartQueryExecution", claim_request(), {"QueryExecutionId": OTHER_QUERY})

    canceller.run(ABORTED, stubbed.runtime)

    assert stubbed.item(EXECUTION) == CLEANED_UP


def test_an_announcement_of_a_registered_start_is_obsolete(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, {**announced(), **started()})
    stubbed.expect("GetQueryExecution", GET, query_execution("FAILED"))

    canceller.run(ABORTED, stubbed.runtime)

    assert "CleanedUp/0" in stubbed.item(EXECUTION)


def test_the_query_of_an_executor_that_died_is_found_and_stopped(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, announced())
    expect_description(stubbed)
    stubbed.expect_error(
        "StartQueryExecution",
        claim_request(),
        "InvalidRequestException",
        AthenaErrorCode="IDEMPOTENT_PARAMETER_MISMATCH",
    )
    stubbed.expect("StartQueryExecution", start_request(), GET)
    stubbed.expect("StopQueryExecution", GET)

    canceller.run(ABORTED, stubbed.runtime)

    assert stubbed.item(EXECUTION) == {**started(), **CLEANED_UP}


def test_a_start_whose_input_can_no_longer_be_read_is_a_fault(stubbed: Stubbed) -> None:
    """A later release may refuse it, and the query may run."""
    stubbed.put_item(EXECUTION, announced())
    expect_description(stubbed, input="{}")

    with pytest.raises(ServiceFault, match=r"StartQueryExecution: AthenaQuery\.InvalidInput"):
        canceller.run(ABORTED, stubbed.runtime)

    assert "CleanedUp/0" not in stubbed.item(EXECUTION)


def test_a_throttled_claim_is_repeated_by_the_sweep(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, announced())
    expect_description(stubbed)
    stubbed.expect_error("StartQueryExecution", claim_request(), "TooManyRequestsException")

    canceller.run(ABORTED, stubbed.runtime)

    assert stubbed.item(EXECUTION) == {**announced(), "Gone/0": {"BOOL": True}}, "not marked as cleaned up"


@pytest.mark.parametrize(
    ("error", "metric"),
    [
        ("AthenaQuery.Failed", None),
        ("AthenaQuery.Throttled", "Throttled"),
        ("ServiceFault", "UntypedFailures"),
        ("Lambda.ResourceNotFoundException", "UntypedFailures"),
    ],
)
def test_failures_that_no_other_function_counts_are_counted(
    stubbed: Stubbed, measured: dict[str, float], error: str, metric: str | None
) -> None:
    expect_description(stubbed, status="FAILED", error=error)

    canceller.run(execution_event("FAILED"), stubbed.runtime)

    assert measured == ({metric: 1} if metric else {})


def test_a_failure_that_is_not_visible_yet_is_counted_by_a_later_try(stubbed: Stubbed) -> None:
    expect_description(stubbed, status="RUNNING")

    with pytest.raises(ServiceFault, match="DescribeExecution"):
        canceller.run(execution_event("FAILED"), stubbed.runtime)


def test_a_failure_of_a_redriven_execution_is_not_waited_for(
    stubbed: Stubbed, measured: dict[str, float]
) -> None:
    expect_description(stubbed, status="RUNNING", redriveCount=1)

    canceller.run(execution_event("FAILED"), stubbed.runtime)

    assert measured == {}


# The sweep.

SWEEP = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}


def listed(arn: str, *, age: timedelta = timedelta(minutes=1), **changes: Any) -> dict[str, Any]:
    return {
        "executionArn": arn,
        "stateMachineArn": STATE_MACHINE,
        "name": arn.rpartition(":")[2],
        "status": "RUNNING",
        "startDate": datetime.fromtimestamp(NOW, UTC) - age,
        **changes,
    }


def expect_lists(stubbed: Stubbed, **executions: list[dict[str, Any]]) -> None:
    """The response of ListExecutions for each status, in the order of a sweep."""
    for status in ("RUNNING", "FAILED", "TIMED_OUT", "ABORTED"):
        parameters = {"stateMachineArn": STATE_MACHINE, "statusFilter": status, "maxResults": 1_000}
        stubbed.expect("ListExecutions", parameters, {"executions": executions.get(status, [])})


def test_a_sweep_cleans_up_after_an_end_that_no_event_reported(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, started())
    expect_lists(stubbed, ABORTED=[listed(EXECUTION, status="ABORTED")])
    stubbed.expect("GetQueryExecution", GET, query_execution("RUNNING"))
    stubbed.expect("StopQueryExecution", GET)

    canceller.run(SWEEP, stubbed.runtime)

    assert stubbed.item(EXECUTION) == {**started(), **CLEANED_UP}


def test_a_sweep_counts_missed_status_events_and_their_failures(
    stubbed: Stubbed, measured: dict[str, float]
) -> None:
    stopped = datetime.fromtimestamp(NOW, UTC) - timedelta(minutes=2)
    expect_lists(stubbed, FAILED=[listed(EXECUTION, status="FAILED", stopDate=stopped)])
    expect_description(stubbed, status="FAILED", error="Lambda.ResourceNotFoundException")

    canceller.run(SWEEP, stubbed.runtime)

    assert measured == {"OldestStuckExecution": 0, "StatusEventsMissed": 1, "UntypedFailures": 1}


def test_a_missed_abort_is_no_failure(stubbed: Stubbed, measured: dict[str, float]) -> None:
    stopped = datetime.fromtimestamp(NOW, UTC) - timedelta(minutes=2)
    expect_lists(stubbed, ABORTED=[listed(EXECUTION, status="ABORTED", stopDate=stopped)])

    canceller.run(SWEEP, stubbed.runtime)

    assert measured == {"OldestStuckExecution": 0, "StatusEventsMissed": 1}


@pytest.mark.parametrize(("item", "minutes"), [({}, 0.5), ({"Gone/0": {"BOOL": True}}, 2)])
def test_an_event_on_its_way_or_whose_clean_up_failed_is_not_missed(
    stubbed: Stubbed, measured: dict[str, float], item: dict[str, Any], minutes: float
) -> None:
    stubbed.put_item(EXECUTION, item)
    stopped = datetime.fromtimestamp(NOW, UTC) - timedelta(minutes=minutes)
    expect_lists(stubbed, FAILED=[listed(EXECUTION, status="FAILED", stopDate=stopped)])

    canceller.run(SWEEP, stubbed.runtime)

    assert measured == {"OldestStuckExecution": 0}


def test_a_sweep_skips_what_was_cleaned_up(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, {**started(), **CLEANED_UP})
    expect_lists(stubbed, FAILED=[listed(EXECUTION, status="FAILED")])

    canceller.run(SWEEP, stubbed.runtime)


def ended_ago(arn: str, ago: timedelta, **changes: Any) -> dict[str, Any]:
    return listed(arn, status="FAILED", stopDate=datetime.fromtimestamp(NOW, UTC) - ago, **changes)


def test_a_sweep_cleans_up_after_each_redrive(stubbed: Stubbed, measured: dict[str, float]) -> None:
    stubbed.put_item(EXECUTION, CLEANED_UP)
    redriven = ended_ago(EXECUTION, timedelta(seconds=30), age=timedelta(days=30), redriveCount=1)
    expect_lists(stubbed, FAILED=[redriven])

    canceller.run(SWEEP, stubbed.runtime)

    assert stubbed.item(EXECUTION).items() >= {"CleanedUp/1": {"BOOL": True}}.items()
    assert measured == {"OldestStuckExecution": 0}


def test_an_execution_that_started_long_ago_does_not_hide_those_that_ended_before_it(
    stubbed: Stubbed,
) -> None:
    """Step Functions lists ended executions by their end, the latest first."""
    redriven = ended_ago(f"{EXECUTION}-old", timedelta(seconds=10), age=timedelta(days=10), redriveCount=1)
    expect_lists(stubbed, FAILED=[redriven, ended_ago(EXECUTION, timedelta(seconds=20))])

    canceller.run(SWEEP, stubbed.runtime)

    assert "CleanedUp/0" in stubbed.item(EXECUTION)


def test_a_sweep_outlasts_an_outage_that_began_before_an_execution_timed_out(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, started())
    ended = ended_ago(EXECUTION, timedelta(days=2), age=timedelta(days=4))
    too_old = ended_ago(f"{EXECUTION}-old", timedelta(days=4), age=timedelta(days=5))
    expect_lists(stubbed, TIMED_OUT=[{**ended, "status": "TIMED_OUT"}, {**too_old, "status": "TIMED_OUT"}])
    stubbed.expect("GetQueryExecution", GET, query_execution("RUNNING"))
    stubbed.expect("StopQueryExecution", GET)

    canceller.run(SWEEP, stubbed.runtime)

    assert "CleanedUp/0" in stubbed.item(EXECUTION)
    assert not stubbed.item(f"{EXECUTION}-old")


def test_a_sweep_continues_after_a_fault_and_reports_it(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, started())
    expect_lists(stubbed, ABORTED=[listed(EXECUTION), listed(f"{EXECUTION}-other")])
    stubbed.expect_error("GetQueryExecution", GET, "InternalServerException")

    with pytest.raises(ServiceFault, match="GetQueryExecution: InternalServerException"):
        canceller.run(SWEEP, stubbed.runtime)

    assert "CleanedUp/0" not in stubbed.item(EXECUTION)
    assert stubbed.item(f"{EXECUTION}-other") == CLEANED_UP


def expect_completion(stubbed: Stubbed, state: str, *, unprocessed: bool = False) -> None:
    query = query_execution(state)["QueryExecution"]
    request = {"QueryExecutionIds": [QUERY]}
    if not unprocessed:
        stubbed.expect("BatchGetQueryExecution", request, {"QueryExecutions": [query]})
        return
    left = {"QueryExecutions": [], "UnprocessedQueryExecutionIds": [{"QueryExecutionId": QUERY}]}
    stubbed.expect("BatchGetQueryExecution", request, left)
    stubbed.expect("GetQueryExecution", GET, query_execution(state))


@pytest.mark.parametrize("unprocessed", [False, True])
def test_an_execution_whose_query_has_ended_is_stuck_since_then(
    stubbed: Stubbed, measured: dict[str, float], unprocessed: bool
) -> None:
    stubbed.put_item(EXECUTION, started())
    stubbed.put_item(QUERY, waiting())
    stubbed.clock.now = NOW + 700
    expect_lists(stubbed, RUNNING=[listed(EXECUTION)])
    expect_completion(stubbed, "SUCCEEDED", unprocessed=unprocessed)

    canceller.run(SWEEP, stubbed.runtime)

    assert measured == {"OldestStuckExecution": 700}


def test_many_running_executions_are_read_in_batches_that_aws_accepts(
    stubbed: Stubbed, measured: dict[str, float]
) -> None:
    """DynamoDB takes 100 keys, which moto checks, and Athena 50 ids."""
    arns = [f"{EXECUTION}-{number}" for number in range(101)]
    for number, arn in enumerate(arns):
        stubbed.put_item(arn, started(f"query-{number}"))
        stubbed.put_item(f"query-{number}", waiting())
    expect_lists(stubbed, RUNNING=[listed(arn) for arn in arns])
    for batch in (range(50), range(50, 100), range(100, 101)):
        ids = [f"query-{number}" for number in batch]
        queries = [{**query_execution("SUCCEEDED")["QueryExecution"], "QueryExecutionId": one} for one in ids]
        stubbed.expect("BatchGetQueryExecution", {"QueryExecutionIds": ids}, {"QueryExecutions": queries})
    stubbed.clock.now = NOW + 700

    canceller.run(SWEEP, stubbed.runtime)

    assert measured == {"OldestStuckExecution": 700}


def test_a_redrive_that_adopts_an_old_query_is_stuck_since_the_redrive(
    stubbed: Stubbed, measured: dict[str, float]
) -> None:
    stubbed.put_item(EXECUTION, {**started(), **started(entry="2", redrive_count=1)})
    stubbed.put_item(QUERY, waiting(State={"S": "SUCCEEDED"}))
    stubbed.clock.now = NOW + 700
    redriven_at = datetime.fromtimestamp(NOW + 695, UTC)
    expect_lists(stubbed, RUNNING=[listed(EXECUTION, redriveDate=redriven_at, redriveCount=1)])
    expect_completion(stubbed, "SUCCEEDED")

    canceller.run(SWEEP, stubbed.runtime)

    assert measured == {"OldestStuckExecution": 5}


def test_an_execution_without_a_query_is_stuck_since_its_start(
    stubbed: Stubbed, measured: dict[str, float]
) -> None:
    redriven = listed(f"{EXECUTION}-2", redriveDate=datetime.fromtimestamp(NOW - 5, UTC), redriveCount=1)
    stubbed.put_item(f"{EXECUTION}-2", started())
    expect_lists(stubbed, RUNNING=[listed(EXECUTION), redriven])

    canceller.run(SWEEP, stubbed.runtime)

    assert measured == {"OldestStuckExecution": 60}


@pytest.mark.parametrize(
    ("state", "item"),
    [("RUNNING", waiting()), ("FAILED", {"State": {"S": "FAILED"}})],
    ids=["runs", "settled"],
)
def test_an_execution_that_waits_for_its_query_or_for_no_callback_is_not_stuck(
    stubbed: Stubbed, measured: dict[str, float], state: str, item: dict[str, Any]
) -> None:
    stubbed.put_item(EXECUTION, started())
    stubbed.put_item(QUERY, item)
    stubbed.clock.now = NOW + 700
    expect_lists(stubbed, RUNNING=[listed(EXECUTION)])
    expect_completion(stubbed, state)

    canceller.run(SWEEP, stubbed.runtime)

    assert measured == {"OldestStuckExecution": 0}
