"""The states of a query, the events that report them, and what ends a query early."""

from typing import Any

import pytest

from local.emulator.athena import lifecycle
from ops.verify.session import SLOW
from tests.athena.conftest import WORK_GROUP, Athena


def test_each_state_is_published_in_the_documented_form(athena: Athena, events: list[dict[str, Any]]) -> None:
    query_id = athena.run("SELECT 1")["QueryExecutionId"]

    common = {
        "versionId": "0",
        "statementType": "DML",
        "queryExecutionId": query_id,
        "workgroupName": WORK_GROUP,
    }
    assert [one for one in events if one["queryExecutionId"] == query_id] == [
        {**common, "currentState": "QUEUED", "sequenceNumber": "1"},
        {**common, "currentState": "RUNNING", "previousState": "QUEUED", "sequenceNumber": "2"},
        {**common, "currentState": "SUCCEEDED", "previousState": "RUNNING", "sequenceNumber": "3"},
    ]


def test_the_event_of_a_failure_has_athenas_error(athena: Athena, events: list[dict[str, Any]]) -> None:
    query_id = athena.run("SELECT 1 / 0")["QueryExecutionId"]

    (failed,) = (one for one in events if one["queryExecutionId"] == query_id and "athenaError" in one)
    assert failed["currentState"] == "FAILED"
    assert failed["athenaError"] == {
        "errorCategory": 2.0,
        "errorType": 1001.0,
        "errorMessage": "DIVISION_BY_ZERO: Division by zero",
        "retryable": False,
    }


def test_a_query_that_is_stopped_ends_cancelled(athena: Athena) -> None:
    query_id = athena.start(SLOW)

    athena.athena.stop_query_execution(QueryExecutionId=query_id)

    status = athena.ended(query_id)["Status"]
    assert (status["State"], status["StateChangeReason"]) == ("CANCELLED", "Query cancelled by user")
    assert "AthenaError" not in status


def test_a_query_that_has_ended_may_be_stopped_and_does_not_change(
    athena: Athena, events: list[dict[str, Any]]
) -> None:
    query = athena.run("SELECT 1")
    published = len(events)

    athena.athena.stop_query_execution(QueryExecutionId=query["QueryExecutionId"])

    assert athena.ended(query["QueryExecutionId"]) == query
    assert len(events) == published


def test_a_query_fails_at_athenas_time_limit(
    athena: Athena, events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "_LIMIT_SECONDS", 0.05)

    query = athena.run(SLOW)

    status = query["Status"]
    assert (status["State"], status["StateChangeReason"]) == ("FAILED", "Query timeout")
    error = status["AthenaError"]
    assert (error["ErrorCategory"], error["ErrorType"], error["Retryable"]) == (1, 206, False)
    states = [one["currentState"] for one in events if one["queryExecutionId"] == query["QueryExecutionId"]]
    assert states == ["QUEUED", "RUNNING", "FAILED"]


def test_queries_that_ran_for_too_long_leave_room_for_others(
    athena: Athena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "_LIMIT_SECONDS", 0.05)
    # As many as run at once.
    for query_id in [athena.start(SLOW) for _ in range(8)]:
        athena.ended(query_id)
    monkeypatch.undo()

    assert athena.rows("SELECT 1 AS x") == [["x"], ["1"]]
