"""The checker: every end of a query, told once, and what it answers when the state machine looks."""

import json
from typing import Any

import pytest

from functions import checker
from tests.unit.calls import (
    ENTERED,
    ENTRY,
    EXECUTION,
    FORGET,
    QUERY,
    STARTED,
    TOKEN,
    athena_error,
    get_item,
    half,
    query_event,
    query_execution,
    update,
)
from tests.unit.conftest import NOW, Aws


def expect_event(aws: Aws, state: str, answer: dict[str, Any], **changes: Any) -> None:
    noted = {**half(**changes), "State": {"S": state}}
    aws.expect("UpdateItem", update(QUERY, {"State": {"S": state}}), {"Attributes": noted})
    aws.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, answer)


def test_success_is_sent_with_what_athena_knows(aws: Aws) -> None:
    expect_event(aws, "SUCCEEDED", query_execution("SUCCEEDED"))
    sent = aws.expect_callback("SendTaskSuccess", TOKEN)
    aws.expect("UpdateItem", FORGET)

    checker.run(query_event("SUCCEEDED"), aws.runtime)

    assert json.loads(sent[0]["output"]) == {
        "QueryId": QUERY,
        "State": "SUCCEEDED",
        "StatementType": "DML",
        "OutputLocation": f"s3://results/{QUERY}.csv",
        "DataManifestLocation": None,
        "SubmissionDateTime": "2026-01-02T03:04:03.000+00:00",
        "CompletionDateTime": "2026-01-02T03:04:05.000+00:00",
        "Statistics": {
            "DataScannedInBytes": 25_000_001,
            "QueryQueueTimeInMillis": 0,
            "QueryPlanningTimeInMillis": 0,
            "EngineExecutionTimeInMillis": 0,
            "TotalExecutionTimeInMillis": 2000,
            "ReusedPreviousResult": False,
        },
        "EstimatedCostUsd": 0.00013,  # 26 megabytes, rounded up
        "SettledBy": "event",
        "Attempts": 1,
    }


READ, WRITE = "SELECT 1", "INSERT INTO t SELECT 1"


@pytest.mark.parametrize(
    ("state", "sql", "athena", "stored", "error"),
    [
        ("FAILED", READ, athena_error(), {}, "AthenaQuery.Failed"),
        ("FAILED", READ, athena_error(retryable=True), {}, "AthenaQuery.RunAgain"),
        ("FAILED", READ, athena_error(category=1), {}, "AthenaQuery.RunAgain"),
        ("FAILED", WRITE, athena_error(retryable=True), {}, "AthenaQuery.TransientFailure"),
        (
            "FAILED",
            WRITE,
            athena_error(retryable=True),
            {"Idempotent": {"BOOL": True}},
            "AthenaQuery.RunAgain",
        ),
        (
            "FAILED",
            READ,
            athena_error(retryable=True),
            {"Attempt": {"N": "2"}},
            "AthenaQuery.TransientFailure",
        ),
        ("CANCELLED", READ, None, {}, "AthenaQuery.Cancelled"),
        ("CANCELLED", READ, None, {"DeadlinePassed": {"BOOL": True}}, "AthenaQuery.TimedOut"),
    ],
)
def test_each_failure_has_its_name(
    aws: Aws, state: str, sql: str, athena: Any, stored: dict[str, Any], error: str
) -> None:
    expect_event(aws, state, query_execution(state, sql=sql, error=athena), **stored)
    sent = aws.expect_callback("SendTaskFailure", TOKEN, error=error)
    aws.expect("UpdateItem", FORGET)

    checker.run(query_event(state), aws.runtime)

    if error == "AthenaQuery.RunAgain":
        assert json.loads(sent[0]["cause"]) == {"Attempt": 2, "RedriveCount": 0}
    else:
        assert json.loads(sent[0]["cause"])["QueryId"] == QUERY


def test_an_event_for_a_query_that_nobody_registered_is_noted(aws: Aws) -> None:
    noted = {"State": {"S": "SUCCEEDED"}}
    aws.expect("UpdateItem", update(QUERY, noted), {"Attributes": noted})

    checker.run(query_event("SUCCEEDED"), aws.runtime)


def test_an_event_that_athena_itself_does_not_confirm_settles_nothing(aws: Aws) -> None:
    expect_event(aws, "FAILED", query_execution("RUNNING"))

    checker.run(query_event("FAILED"), aws.runtime)


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist"])
def test_a_spent_token_is_no_error(aws: Aws, code: str) -> None:
    expect_event(aws, "SUCCEEDED", query_execution("SUCCEEDED"))
    aws.stubs["stepfunctions"].add_client_error("send_task_success", service_error_code=code)
    aws.expect("UpdateItem", FORGET)

    checker.run(query_event("SUCCEEDED"), aws.runtime)


def test_a_newer_token_stays(aws: Aws) -> None:
    expect_event(aws, "SUCCEEDED", query_execution("SUCCEEDED"))
    aws.expect_callback("SendTaskSuccess", TOKEN)
    aws.expect_error("UpdateItem", FORGET, "ConditionalCheckFailedException")

    checker.run(query_event("SUCCEEDED"), aws.runtime)


POLL = {"ExecutionId": EXECUTION, "Start": {"EnteredTime": ENTERED, "RedriveCount": 0, "RunAgain": {}}}


@pytest.mark.parametrize(
    ("deadline", "seconds"), [(None, 30), (NOW + 7.5, 8), (NOW + 100, 30), (NOW - 1, 30)]
)
def test_it_answers_how_long_to_wait_until_the_next_look(
    aws: Aws, deadline: float | None, seconds: int
) -> None:
    stored = half(Deadline={"N": str(deadline)}) if deadline else half()
    aws.expect("GetItem", get_item(EXECUTION), {"Item": {f"Started/{ENTRY}": STARTED}})
    aws.expect("GetItem", get_item(QUERY), {"Item": stored})
    aws.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("RUNNING"))

    answer = checker.run(POLL, aws.runtime)

    assert answer == {"QueryId": QUERY, "State": "RUNNING", "WaitSeconds": seconds}


def test_a_success_that_the_poll_finds_brings_its_output(aws: Aws) -> None:
    aws.expect("GetItem", get_item(EXECUTION), {"Item": {f"Started/{ENTRY}": STARTED}})
    aws.expect("GetItem", get_item(QUERY), {"Item": half()})
    aws.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("SUCCEEDED"))

    answer = checker.run(POLL, aws.runtime)

    assert answer is not None
    assert (answer["State"], answer["Output"]["SettledBy"]) == ("SUCCEEDED", "poll")


def test_a_query_that_is_not_registered_is_unknown(aws: Aws) -> None:
    aws.expect("GetItem", get_item(EXECUTION), {})

    assert checker.run(POLL, aws.runtime) == {"QueryId": None, "State": "UNKNOWN", "WaitSeconds": 30}


def test_a_preview_keeps_null_apart_from_the_empty_string_and_cuts_wide_cells(aws: Aws) -> None:
    expect_event(aws, "SUCCEEDED", query_execution("SUCCEEDED"), PreviewRows={"N": "2"})
    cells: list[list[str | None]] = [["name"], ["x" * 2000], [""], [None]]
    rows = [{"Data": [{} if cell is None else {"VarCharValue": cell} for cell in row]} for row in cells]
    aws.expect(
        "GetQueryResults",
        {"QueryExecutionId": QUERY, "MaxResults": 10},
        {
            "ResultSet": {
                "Rows": rows,
                "ResultSetMetadata": {"ColumnInfo": [{"Name": "name", "Type": "varchar"}]},
            }
        },
    )
    sent = aws.expect_callback("SendTaskSuccess", TOKEN)
    aws.expect("UpdateItem", FORGET)

    checker.run(query_event("SUCCEEDED"), aws.runtime)

    preview = json.loads(sent[0]["output"])["Preview"]
    assert preview["Rows"][1:] == [[""]]
    assert len(preview["Rows"][0][0]) == 1024
    assert preview["Truncated"] is True
