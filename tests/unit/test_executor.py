"""The executor: what it asks of AWS, in which order, and what the waiting task is told."""

import json
from typing import Any

import pytest

from functions import executor
from functions.task_table import Entry
from tests.unit.calls import (
    ENTERED,
    ENTRY,
    EXECUTION,
    FORGET,
    QUERY,
    REGISTER,
    SQL,
    STARTED,
    TOKEN,
    announce,
    announcement,
    half,
    query_execution,
    remove,
    start,
    started,
    task,
    update,
)
from tests.unit.conftest import NOW, Aws


def test_it_announces_starts_registers_and_offers_the_token(aws: Aws) -> None:
    aws.expect("UpdateItem", announce())
    aws.expect("StartQueryExecution", start(), {"QueryExecutionId": QUERY})
    aws.expect("UpdateItem", REGISTER)
    aws.expect("UpdateItem", update(QUERY, half()), {"Attributes": half()})

    executor.run(task({"QueryString": SQL}), aws.runtime)


def test_every_field_of_the_input_reaches_athena_unchanged(aws: Aws) -> None:
    document = {
        "QueryString": SQL,
        "Database": "other",
        "Catalog": "lake",
        "ExecutionParameters": ["'JFK'", "2"],
        "ResultReuseMaxAgeMinutes": 60,
        "MaxAttempts": 5,
        "Idempotent": True,
        "PreviewRows": 10,
        "TimeoutSeconds": 600,
    }
    stored = half(
        MaxAttempts={"N": "5"},
        Idempotent={"BOOL": True},
        PreviewRows={"N": "10"},
        Deadline={"N": str(NOW + 600)},
    )
    aws.expect("UpdateItem", announce())
    aws.expect(
        "StartQueryExecution",
        start(
            QueryExecutionContext={"Database": "other", "Catalog": "lake"},
            ExecutionParameters=["'JFK'", "2"],
            ResultReuseConfiguration={
                "ResultReuseByAgeConfiguration": {"Enabled": True, "MaxAgeInMinutes": 60}
            },
        ),
        {"QueryExecutionId": QUERY},
    )
    aws.expect("UpdateItem", REGISTER)
    aws.expect("UpdateItem", update(QUERY, stored), {"Attributes": stored})

    executor.run(task(document), aws.runtime)


def test_a_named_query_brings_its_own_database(aws: Aws) -> None:
    named = {"Name": "daily", "Database": "finance", "QueryString": "SELECT 1"}
    aws.expect("GetNamedQuery", {"NamedQueryId": "abc-123"}, {"NamedQuery": named})
    aws.expect("UpdateItem", announce("SELECT 1"))
    aws.expect(
        "StartQueryExecution",
        start(
            QueryString="SELECT 1",
            QueryExecutionContext={"Database": "finance", "Catalog": "AwsDataCatalog"},
        ),
        {"QueryExecutionId": QUERY},
    )
    aws.expect("UpdateItem", REGISTER)
    aws.expect("UpdateItem", update(QUERY, half()), {"Attributes": half()})

    executor.run(task({"NamedQueryId": "abc-123"}), aws.runtime)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("InvalidRequestException", "AthenaQuery.InvalidRequest"),
        ("TooManyRequestsException", "AthenaQuery.Throttled"),
        ("ThrottlingException", "AthenaQuery.Throttled"),
    ],
)
def test_what_athena_refuses_is_the_callers_news_and_is_withdrawn(aws: Aws, code: str, error: str) -> None:
    aws.expect("UpdateItem", announce())
    aws.expect_error("StartQueryExecution", start(), code, "line 1:8: mismatched input")
    aws.expect("UpdateItem", remove(EXECUTION, f"Announced/{ENTRY}", announcement()))
    sent = aws.expect_callback("SendTaskFailure", TOKEN, error=error)

    executor.run(task({"QueryString": SQL}), aws.runtime)

    cause = json.loads(sent[0]["cause"])
    assert "line 1:8" in cause["Reason"]
    assert (cause["QueryId"], cause["Attempts"]) == (None, 0)


@pytest.mark.parametrize("document", [{}, [], "SELECT 1", {"QueryString": SQL, "Nonsense": 1}])
def test_bad_input_is_refused_before_anything_is_asked_of_aws(aws: Aws, document: Any) -> None:
    aws.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.InvalidInput")

    executor.run(task(document), aws.runtime)


def test_an_event_that_came_first_is_settled_by_the_executor(aws: Aws) -> None:
    aws.expect("UpdateItem", announce())
    aws.expect("StartQueryExecution", start(), {"QueryExecutionId": QUERY})
    aws.expect("UpdateItem", REGISTER)
    aws.expect("UpdateItem", update(QUERY, half()), {"Attributes": {**half(), "State": {"S": "SUCCEEDED"}}})
    aws.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("SUCCEEDED"))
    sent = aws.expect_callback("SendTaskSuccess", TOKEN)
    aws.expect("UpdateItem", FORGET)

    executor.run(task({"QueryString": SQL}), aws.runtime)

    assert json.loads(sent[0]["output"])["SettledBy"] == "executor"


def test_a_lambda_retry_gets_the_query_back_without_starting_one(aws: Aws) -> None:
    known = {f"Started/{ENTRY}": STARTED}
    aws.expect("UpdateItem", announce(), {"Attributes": known})
    aws.expect("UpdateItem", REGISTER, {"Attributes": known})
    aws.expect("UpdateItem", update(QUERY, half()), {"Attributes": half()})

    executor.run(task({"QueryString": SQL}), aws.runtime)


def test_nothing_is_started_for_an_execution_that_is_gone(aws: Aws) -> None:
    aws.expect("UpdateItem", announce(), {"Attributes": {"Gone/0": {"BOOL": True}}})
    aws.expect("UpdateItem", remove(EXECUTION, f"Announced/{ENTRY}", announcement()))

    executor.run(task({"QueryString": SQL}), aws.runtime)


def test_a_query_is_stopped_if_its_execution_went_while_it_was_started(aws: Aws) -> None:
    aws.expect("UpdateItem", announce())
    aws.expect("StartQueryExecution", start(), {"QueryExecutionId": QUERY})
    aws.expect("UpdateItem", REGISTER, {"Attributes": {"Gone/0": {"BOOL": True}}})
    aws.expect("StopQueryExecution", {"QueryExecutionId": QUERY})

    executor.run(task({"QueryString": SQL}), aws.runtime)


def test_wait_stops_a_query_whose_deadline_has_passed(aws: Aws) -> None:
    entered = "2026-01-02T03:03:05Z"
    event = task(
        {"QueryString": SQL, "TimeoutSeconds": 30},
        StateName="Wait",
        Start={"EnteredTime": entered, "RedriveCount": 0, "RunAgain": {}},
    )
    entry = Entry.read(EXECUTION, event["Start"]).id
    known = {f"Started/{entry}": started(NOW - 60)}
    stored = half(Deadline={"N": str(NOW - 30)})
    mark = {f"Announced/{entry}": announcement(entered=NOW - 60)}
    aws.expect("UpdateItem", update(EXECUTION, mark, answer="ALL_OLD"), {"Attributes": known})
    registered = update(EXECUTION, known, (f"Announced/{entry}",))
    aws.expect("UpdateItem", registered, {"Attributes": known})
    aws.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("RUNNING"))
    aws.expect("UpdateItem", update(QUERY, {"DeadlinePassed": {"BOOL": True}}))
    aws.expect("StopQueryExecution", {"QueryExecutionId": QUERY})
    late = {**stored, "DeadlinePassed": {"BOOL": True}}
    aws.expect("UpdateItem", update(QUERY, stored), {"Attributes": late})
    aws.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("CANCELLED"))
    aws.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.TimedOut")
    aws.expect("UpdateItem", FORGET)

    executor.run(event, aws.runtime)


def test_a_redriven_wait_asks_for_a_new_start(aws: Aws) -> None:
    event = task({"QueryString": SQL}, StateName="Wait")
    event["Execution"]["RedriveCount"] = 1
    sent = aws.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.RunAgain")

    executor.run(event, aws.runtime)

    assert json.loads(sent[0]["cause"]) == {"Attempt": 1, "RedriveCount": 1}


def test_attempts_are_counted_anew_after_a_redrive() -> None:
    start_of_second = {
        "EnteredTime": ENTERED,
        "RedriveCount": 1,
        "RunAgain": {"Attempt": 2, "RedriveCount": 0},
    }

    assert Entry.read(EXECUTION, start_of_second).attempt == 1
