"""The executor: its requests to Athena, what it stores, and what the waiting task receives."""

import json
from typing import Any

import pytest

from functions import executor
from functions.errors import ServiceFault
from functions.task_table import MOST_STARTED, Entry
from tests.unit.conftest import NOW, SETTINGS, Stubbed
from tests.unit.samples import (
    ENTERED,
    ENTRY,
    EXECUTION,
    OTHER_QUERY,
    QUERY,
    SQL,
    START,
    TOKEN,
    announced,
    claim_request,
    entry_id,
    number,
    query_execution,
    start_request,
    started,
    task,
    terms,
    waiting,
)

MARKS = ("Gone", "CleanedUp")
MISMATCH = "IDEMPOTENT_PARAMETER_MISMATCH"


def expect_mismatch(stubbed: Stubbed, request: dict[str, Any]) -> None:
    stubbed.expect_error(
        "StartQueryExecution",
        request,
        "InvalidRequestException",
        "Idempotent parameters do not match",
        AthenaErrorCode=MISMATCH,
    )


def test_it_starts_registers_and_stores_the_token(stubbed: Stubbed) -> None:
    stubbed.expect("StartQueryExecution", start_request(), {"QueryExecutionId": QUERY})

    executor.run(task({"QueryString": SQL}), stubbed.runtime)

    assert stubbed.item(EXECUTION) == started()
    assert stubbed.item(QUERY) == waiting()


def test_every_field_of_the_input_reaches_athena_unchanged(stubbed: Stubbed) -> None:
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
        "Labels": {"team": "growth"},
    }
    stubbed.expect(
        "StartQueryExecution",
        start_request(
            QueryExecutionContext={"Database": "other", "Catalog": "lake"},
            ExecutionParameters=["'JFK'", "2"],
            ResultReuseConfiguration={
                "ResultReuseByAgeConfiguration": {"Enabled": True, "MaxAgeInMinutes": 60}
            },
        ),
        {"QueryExecutionId": QUERY},
    )

    executor.run(task(document), stubbed.runtime)

    stored = {"MaxAttempts": number(5), "Idempotent": {"BOOL": True}, "PreviewRows": number(10)}
    labels = {"M": {"team": {"S": "growth"}}}
    assert stubbed.item(QUERY) == waiting(**stored, Deadline=number(NOW + 600), Labels=labels)


def test_items_expire_after_the_time_of_the_settings(stubbed: Stubbed) -> None:
    stubbed.expect("StartQueryExecution", start_request(), {"QueryExecutionId": QUERY})

    executor.run(task({"QueryString": SQL}), stubbed.runtime)

    assert stubbed.expiry(EXECUTION) == stubbed.expiry(QUERY) == NOW + SETTINGS.task_ttl_days * 86_400


def expect_named_query(stubbed: Stubbed, sql: str) -> None:
    named = {"Name": "daily", "Database": "finance", "QueryString": sql}
    stubbed.expect("GetNamedQuery", {"NamedQueryId": "abc-123"}, {"NamedQuery": named})


@pytest.mark.parametrize(("fields", "database"), [({}, "finance"), ({"Database": "other"}, "other")])
def test_a_named_query_brings_its_own_database(
    stubbed: Stubbed, fields: dict[str, str], database: str
) -> None:
    expect_named_query(stubbed, "SELECT 1")
    context = {"Database": database, "Catalog": "AwsDataCatalog"}
    stubbed.expect(
        "StartQueryExecution",
        start_request(QueryString="SELECT 1", QueryExecutionContext=context),
        {"QueryExecutionId": QUERY},
    )

    executor.run(task({"NamedQueryId": "abc-123", **fields}), stubbed.runtime)

    assert stubbed.item(EXECUTION) == started()


def test_a_named_query_that_does_not_fit_into_an_item_is_refused(stubbed: Stubbed) -> None:
    """Athena counts bytes, and its API characters."""
    expect_named_query(stubbed, "é" * 262_144)
    sent = stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.InvalidRequest")

    executor.run(task({"NamedQueryId": "abc-123"}), stubbed.runtime)

    assert "The named query has 524,288 bytes" in json.loads(sent[0]["cause"])["Reason"]


def test_a_named_query_that_was_edited_after_a_crash_starts_as_it_was_announced(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, announced(query_string="SELECT 'as announced'"))
    stubbed.expect(
        "StartQueryExecution", start_request(QueryString="SELECT 'as announced'"), {"QueryExecutionId": QUERY}
    )

    executor.run(task({"NamedQueryId": "abc-123"}), stubbed.runtime)

    assert stubbed.item(EXECUTION) == started()


def test_a_named_query_that_was_deleted_while_its_query_runs_is_not_resolved_again(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, started())

    executor.run(task({"NamedQueryId": "abc-123"}), stubbed.runtime)

    assert stubbed.item(QUERY) == waiting()


def test_wait_does_not_resolve_the_named_query_again(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, started())
    stubbed.put_item(QUERY, terms())

    executor.run(task({"NamedQueryId": "abc-123"}, StateName="Wait"), stubbed.runtime)

    assert stubbed.item(QUERY) == waiting()


@pytest.mark.parametrize("code", ["InvalidRequestException", "AccessDeniedException"])
def test_a_refused_statement_is_an_invalid_request(stubbed: Stubbed, code: str) -> None:
    stubbed.expect_error("StartQueryExecution", start_request(), code, "line 1:8: mismatched input")
    sent = stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.InvalidRequest")

    executor.run(task({"QueryString": SQL}), stubbed.runtime)

    cause = json.loads(sent[0]["cause"])
    assert "line 1:8" in cause["Reason"]
    assert "readDatabases" in cause["Advice"]
    assert (cause["QueryId"], cause["Attempts"]) == (None, 0)
    assert stubbed.item(EXECUTION) == {}


def test_a_refusal_by_athena_names_the_labels(stubbed: Stubbed, caplog: pytest.LogCaptureFixture) -> None:
    stubbed.expect_error("StartQueryExecution", start_request(), "InvalidRequestException", "line 1:8")
    sent = stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.InvalidRequest")

    executor.run(task({"QueryString": SQL, "Labels": {"team": "growth"}}), stubbed.runtime)

    assert json.loads(sent[0]["cause"])["Labels"] == {"team": "growth"}
    (line,) = (record for record in caplog.records if record.message == "refused")
    assert vars(line)["labels"] == ["team=growth"]


@pytest.mark.parametrize("code", ["TooManyRequestsException", "ThrottlingException"])
def test_a_throttled_start_stays_announced(stubbed: Stubbed, code: str) -> None:
    """The second attempt of botocore may be throttled although the first one started the query."""
    stubbed.expect_error("StartQueryExecution", start_request(), code)
    stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.Throttled")

    executor.run(task({"QueryString": SQL}), stubbed.runtime)

    assert set(stubbed.item(EXECUTION)) == {f"Announced/{ENTRY}", f"Statement/{ENTRY}"}


@pytest.mark.parametrize(
    "document", [{}, [], "SELECT 1", {"QueryString": SQL, "Nonsense": 1}, {"QueryString": "\ud800"}]
)
def test_bad_input_is_refused_before_any_call_of_aws(stubbed: Stubbed, document: Any) -> None:
    stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.InvalidInput")

    executor.run(task(document), stubbed.runtime)

    assert stubbed.item(EXECUTION) == {}


def test_an_input_that_could_not_be_passed_is_invalid(stubbed: Stubbed) -> None:
    event = task(None, StateName="Failed")
    del event["Execution"]["Input"]
    sent = stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.InvalidInput")

    executor.run(event, stubbed.runtime)

    assert "256 KiB" in json.loads(sent[0]["cause"])["Reason"]


def test_an_event_before_the_token_is_settled_by_the_executor(stubbed: Stubbed) -> None:
    stubbed.put_item(QUERY, {"State": {"S": "SUCCEEDED"}})
    stubbed.expect("StartQueryExecution", start_request(), {"QueryExecutionId": QUERY})
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("SUCCEEDED"))
    sent = stubbed.expect_callback("SendTaskSuccess", TOKEN)

    executor.run(task({"QueryString": SQL}), stubbed.runtime)

    assert json.loads(sent[0]["output"])["SettledBy"] == "executor"
    assert "TaskToken" not in stubbed.item(QUERY)


def test_an_event_that_came_before_athena_reports_the_end_is_settled_within_seconds(stubbed: Stubbed) -> None:
    stubbed.put_item(QUERY, {"State": {"S": "SUCCEEDED"}})
    stubbed.expect("StartQueryExecution", start_request(), {"QueryExecutionId": QUERY})
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("RUNNING"))
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("SUCCEEDED"))
    stubbed.expect_callback("SendTaskSuccess", TOKEN)

    executor.run(task({"QueryString": SQL}), stubbed.runtime)

    assert stubbed.clock.now - NOW < 2


def test_a_lambda_retry_finds_the_query_without_starting_one(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, started())

    executor.run(task({"QueryString": SQL}), stubbed.runtime)

    assert stubbed.item(EXECUTION) == started()
    assert stubbed.item(QUERY) == waiting()


def test_nothing_is_started_for_an_execution_that_has_ended(stubbed: Stubbed) -> None:
    ended = {"Gone/0": {"BOOL": True}}
    stubbed.put_item(EXECUTION, ended)

    executor.run(task({"QueryString": SQL}), stubbed.runtime)

    assert stubbed.item(EXECUTION) == ended


def test_a_start_whose_token_the_canceller_has_claimed_ends_quietly(stubbed: Stubbed) -> None:
    """The execution ended after the announcement: only Athena's response shows it."""
    stubbed.put_item(EXECUTION, announced())
    client = stubbed.runtime.athena

    def mark(**_: Any) -> None:
        stubbed.runtime.table.mark_ended(EXECUTION, 0, NOW)

    client.meta.events.register("provide-client-params.athena.StartQueryExecution", mark)
    expect_mismatch(stubbed, start_request())

    executor.run(task({"QueryString": SQL}), stubbed.runtime)

    assert f"Started/{ENTRY}" not in stubbed.item(EXECUTION)


def test_a_start_whose_token_a_redrive_has_claimed_ends_quietly(stubbed: Stubbed) -> None:
    """The redrive's own start was refused: only Athena's response shows it."""
    expect_mismatch(stubbed, start_request())
    stubbed.expect("StartQueryExecution", claim_request(), {"QueryExecutionId": OTHER_QUERY})

    executor.run(task({"QueryString": SQL}), stubbed.runtime)

    assert stubbed.item(EXECUTION) == {}


def test_a_token_that_was_used_with_another_statement_is_a_fault(stubbed: Stubbed) -> None:
    expect_mismatch(stubbed, start_request())
    expect_mismatch(stubbed, claim_request())

    with pytest.raises(ServiceFault, match=MISMATCH):
        executor.run(task({"QueryString": SQL}), stubbed.runtime)

    assert f"Announced/{ENTRY}" in stubbed.item(EXECUTION)


def test_a_query_is_stopped_if_its_execution_ended_while_it_was_started(stubbed: Stubbed) -> None:
    def mark(**_: Any) -> None:
        stubbed.runtime.table.mark_ended(EXECUTION, 0, NOW)

    stubbed.runtime.athena.meta.events.register("provide-client-params.athena.StartQueryExecution", mark)
    stubbed.expect("StartQueryExecution", start_request(), {"QueryExecutionId": QUERY})
    stubbed.expect("StopQueryExecution", {"QueryExecutionId": QUERY})

    executor.run(task({"QueryString": SQL}), stubbed.runtime)

    assert stubbed.item(QUERY) == {"StopRequested": {"BOOL": True}}


def test_a_query_that_a_later_redrive_adopted_is_not_stopped(stubbed: Stubbed) -> None:
    def adopt(**_: Any) -> None:
        stubbed.put_item(EXECUTION, {**started(entry="2", redrive_count=1), "Gone/0": {"BOOL": True}})

    stubbed.runtime.athena.meta.events.register("provide-client-params.athena.StartQueryExecution", adopt)
    stubbed.expect("StartQueryExecution", start_request(), {"QueryExecutionId": QUERY})

    executor.run(task({"QueryString": SQL}), stubbed.runtime)

    assert stubbed.item(QUERY) == {}


def test_wait_only_stores_the_token(stubbed: Stubbed) -> None:
    """The checker has just polled Athena; another call would be a second poll."""
    stubbed.put_item(EXECUTION, started())
    stubbed.put_item(QUERY, waiting(TaskToken={"S": "an older token"}))

    executor.run(task({"QueryString": SQL}, StateName="Wait"), stubbed.runtime)

    assert stubbed.item(QUERY) == waiting()


def test_wait_replaces_the_terms_of_an_earlier_run(stubbed: Stubbed) -> None:
    """A redrive adopted the query and died before it stored its own."""
    entry = entry_id(ENTERED, 1)
    stubbed.put_item(EXECUTION, started(entry=entry, redrive_count=1))
    stubbed.put_item(QUERY, waiting(Attempt=number(2), Deadline=number(NOW + 5)))

    executor.run(
        task({"QueryString": SQL, "TimeoutSeconds": 30}, redrive_count=1, StateName="Wait"), stubbed.runtime
    )

    assert stubbed.item(QUERY) == waiting(RedriveCount=number(1), Deadline=number(NOW + 30))


def test_failed_sends_what_athena_reports(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, started())
    stubbed.put_item(QUERY, terms())
    event = task(None, StateName="Failed")
    del event["Execution"]["Input"]
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("FAILED"))
    stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.Failed")

    executor.run(event, stubbed.runtime)


def test_wait_starts_a_query_that_could_not_be_started_before(stubbed: Stubbed) -> None:
    stubbed.expect("StartQueryExecution", start_request(), {"QueryExecutionId": QUERY})

    executor.run(task({"QueryString": SQL}, StateName="Wait"), stubbed.runtime)

    assert stubbed.item(EXECUTION) == started()


# Deadlines.


def late(**changes: Any) -> dict[str, Any]:
    """A task whose deadline passed 30 seconds ago."""
    document = {"QueryString": SQL, "TimeoutSeconds": 30}
    return task(document, Start={**START, "EnteredTime": "2026-01-02T03:03:05Z"}, **changes)


LATE_ENTRY = entry_id("2026-01-02T03:03:05Z")


def test_wait_stops_a_query_whose_deadline_has_passed(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, started(entry=LATE_ENTRY, entered=NOW - 60))
    stubbed.put_item(QUERY, terms(Deadline=number(NOW - 30)))
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("RUNNING"))
    stubbed.expect("StopQueryExecution", {"QueryExecutionId": QUERY})

    executor.run(late(StateName="Wait"), stubbed.runtime)

    stored = {"Deadline": number(NOW - 30), "DeadlinePassed/0": number(NOW)}
    assert stubbed.item(QUERY) == waiting(**stored)


def test_a_stop_that_failed_at_the_deadline_is_repeated(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, started(entry=LATE_ENTRY, entered=NOW - 60))
    stubbed.put_item(QUERY, terms(**{"Deadline": number(NOW - 30), "DeadlinePassed/0": number(NOW - 10)}))
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("RUNNING"))
    stubbed.expect("StopQueryExecution", {"QueryExecutionId": QUERY})

    executor.run(late(StateName="Wait"), stubbed.runtime)

    # It may end at any time since the first one.
    assert stubbed.item(QUERY)["DeadlinePassed/0"] == number(NOW - 10)


def test_each_run_records_its_own_stop_at_the_deadline(stubbed: Stubbed) -> None:
    """A redrive has adopted the query, whose stop at the deadline of the earlier run failed."""
    entry = entry_id("2026-01-02T03:03:05Z", 1)
    stubbed.put_item(EXECUTION, started(entry=entry, redrive_count=1, entered=NOW - 60))
    earlier = {"Deadline": number(NOW - 30), "DeadlinePassed/0": number(NOW - 100)}
    stubbed.put_item(QUERY, terms(**earlier, RedriveCount=number(1)))
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("RUNNING"))
    stubbed.expect("StopQueryExecution", {"QueryExecutionId": QUERY})

    event = late(StateName="Wait", redrive_count=1)
    event["Start"]["RedriveCount"] = 1
    executor.run(event, stubbed.runtime)

    assert stubbed.item(QUERY)["DeadlinePassed/1"] == number(NOW)


def test_a_query_that_another_executor_stops_meanwhile_timed_out(stubbed: Stubbed) -> None:
    def stop(**_: Any) -> None:
        stubbed.runtime.table.record_deadline(QUERY, 0, NOW - 1)

    stubbed.runtime.athena.meta.events.register("provide-client-params.athena.GetQueryExecution", stop)
    stubbed.put_item(EXECUTION, started(entry=LATE_ENTRY, entered=NOW - 60))
    stubbed.put_item(QUERY, terms(Deadline=number(NOW - 30)))
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("CANCELLED"))
    stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.TimedOut")

    executor.run(late(StateName="Wait"), stubbed.runtime)


def test_a_start_that_another_executor_claims_at_the_deadline_timed_out(stubbed: Stubbed) -> None:
    """That one's clock may be ahead."""
    expect_mismatch(stubbed, start_request())
    stubbed.expect("StartQueryExecution", claim_request(), {"QueryExecutionId": OTHER_QUERY})
    stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.TimedOut")

    executor.run(task({"QueryString": SQL, "TimeoutSeconds": 30}), stubbed.runtime)

    assert stubbed.item(EXECUTION) == {}


def test_an_event_that_athena_does_not_confirm_leaves_the_deadline_in_force(stubbed: Stubbed) -> None:
    """The event may be that of an earlier stop: then Athena reports the end within seconds."""
    stubbed.put_item(EXECUTION, started(entry=LATE_ENTRY, entered=NOW - 60))
    stubbed.put_item(QUERY, terms(Deadline=number(NOW - 30), State={"S": "CANCELLED"}))
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("RUNNING"))
    stubbed.expect("StopQueryExecution", {"QueryExecutionId": QUERY})
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("RUNNING"))
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("CANCELLED"))
    stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.TimedOut")

    executor.run(late(StateName="Wait"), stubbed.runtime)

    assert stubbed.clock.now - NOW < 2


def test_a_query_that_ended_before_its_deadline_was_checked_is_settled_as_it_ended(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, started(entry=LATE_ENTRY, entered=NOW - 60))
    stubbed.put_item(QUERY, terms(Deadline=number(NOW - 30)))
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("CANCELLED"))
    stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.Cancelled")

    executor.run(late(StateName="Wait"), stubbed.runtime)


def test_nothing_is_started_after_the_deadline(stubbed: Stubbed) -> None:
    sent = stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.TimedOut")

    executor.run(late(), stubbed.runtime)

    assert json.loads(sent[0]["cause"])["QueryId"] is None
    assert stubbed.item(EXECUTION) == {}


def test_after_the_deadline_a_start_that_was_announced_is_claimed(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, announced(entry=LATE_ENTRY))
    stubbed.expect("StartQueryExecution", claim_request(LATE_ENTRY), {"QueryExecutionId": OTHER_QUERY})
    stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.TimedOut")

    executor.run(late(), stubbed.runtime)

    assert stubbed.item(EXECUTION) == {}


def test_after_the_deadline_the_query_of_an_executor_that_died_is_found_and_stopped(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, announced(entry=LATE_ENTRY, entered=NOW - 60))
    expect_mismatch(stubbed, claim_request(LATE_ENTRY))
    request = start_request(ClientRequestToken=LATE_ENTRY)
    stubbed.expect("StartQueryExecution", request, {"QueryExecutionId": QUERY})
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("RUNNING"))
    stubbed.expect("StopQueryExecution", {"QueryExecutionId": QUERY})

    executor.run(late(), stubbed.runtime)

    assert stubbed.item(EXECUTION) == started(entry=LATE_ENTRY, entered=NOW - 60)
    assert stubbed.item(QUERY)["DeadlinePassed/0"] == number(NOW)


def test_the_deadline_holds_while_athena_throttles_claims(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, announced(entry=LATE_ENTRY))
    stubbed.expect_error("StartQueryExecution", claim_request(LATE_ENTRY), "TooManyRequestsException")
    stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.TimedOut")

    executor.run(late(), stubbed.runtime)

    assert f"Announced/{LATE_ENTRY}" in stubbed.item(EXECUTION), "the canceller needs it"


# Redrives.

REDRIVEN = entry_id(ENTERED, 1)


def test_the_deadline_of_a_redrive_holds_while_athena_is_too_busy_for_a_claim(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, announced())
    stubbed.expect_error("StartQueryExecution", claim_request(), "TooManyRequestsException")
    stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.TimedOut")
    start = {**START, "EnteredTime": "2026-01-02T03:03:05Z", "RedriveCount": 1}

    executor.run(
        task({"QueryString": SQL, "TimeoutSeconds": 30}, redrive_count=1, Start=start), stubbed.runtime
    )

    assert f"Announced/{ENTRY}" in stubbed.item(EXECUTION), "the canceller needs it"


def redriven() -> dict[str, Any]:
    return task({"QueryString": SQL}, redrive_count=1)


@pytest.mark.parametrize("state", ["QUEUED", "RUNNING"])
def test_a_redrive_adopts_a_query_that_still_runs(stubbed: Stubbed, state: str) -> None:
    stubbed.put_item(EXECUTION, {**started(), "Gone/0": {"BOOL": True}})
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution(state))

    executor.run(redriven(), stubbed.runtime)

    assert stubbed.item(EXECUTION).items() >= started(entry=REDRIVEN, redrive_count=1).items()
    assert stubbed.item(QUERY) == waiting(RedriveCount=number(1))


def test_a_redrive_adopts_a_query_that_succeeded(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, {**started(), "Gone/0": {"BOOL": True}})
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("SUCCEEDED"))
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("SUCCEEDED"))
    stubbed.expect_callback("SendTaskSuccess", TOKEN)

    executor.run(redriven(), stubbed.runtime)


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
def test_a_redrive_starts_a_query_where_the_last_one_failed(stubbed: Stubbed, state: str) -> None:
    stubbed.put_item(EXECUTION, {**started(), "Gone/0": {"BOOL": True}})
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution(state))
    request = start_request(ClientRequestToken=REDRIVEN)
    stubbed.expect("StartQueryExecution", request, {"QueryExecutionId": OTHER_QUERY})

    executor.run(redriven(), stubbed.runtime)

    again = started(OTHER_QUERY, entry=REDRIVEN, redrive_count=1)
    assert stubbed.item(EXECUTION) == {**started(), **again, "Gone/0": {"BOOL": True}}


def test_a_redrive_adopts_an_older_query_that_succeeded(stubbed: Stubbed) -> None:
    """The execution was aborted and redriven while the executor of its first run was starting that query."""
    newer = started(OTHER_QUERY, entry=REDRIVEN, redrive_count=1)
    stubbed.put_item(EXECUTION, {**started(), **newer, "Gone/1": {"BOOL": True}})
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": OTHER_QUERY}, query_execution("FAILED"))
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("SUCCEEDED"))
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("SUCCEEDED"))
    stubbed.expect_callback("SendTaskSuccess", TOKEN)

    executor.run(task({"QueryString": SQL}, redrive_count=2), stubbed.runtime)


def test_a_redrive_whose_adopted_query_was_stopped_adopts_an_older_one_that_succeeded(
    stubbed: Stubbed,
) -> None:
    """Athena had resumed that one. It is the second entry of the redrive, after `RunAgain`."""
    stopped = started(OTHER_QUERY, entry="first entry of the redrive", redrive_count=1)
    stubbed.put_item(EXECUTION, {**started(), **stopped})
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": OTHER_QUERY}, query_execution("CANCELLED"))
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("SUCCEEDED"))
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("SUCCEEDED"))
    stubbed.expect_callback("SendTaskSuccess", TOKEN)

    executor.run(redriven(), stubbed.runtime)


def test_an_executor_of_a_run_before_the_redrive_starts_nothing(stubbed: Stubbed) -> None:
    """It was delayed, and the event of its run's end was lost."""
    stubbed.put_item(EXECUTION, started(OTHER_QUERY, entry=REDRIVEN, redrive_count=1))

    executor.run(task({"QueryString": SQL}), stubbed.runtime)

    assert stubbed.item(EXECUTION) == started(OTHER_QUERY, entry=REDRIVEN, redrive_count=1)


def test_a_redrive_adopts_the_query_of_an_executor_that_died(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, {**announced(), "Gone/0": {"BOOL": True}})
    expect_mismatch(stubbed, claim_request())
    stubbed.expect("StartQueryExecution", start_request(), {"QueryExecutionId": QUERY})
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("RUNNING"))

    executor.run(redriven(), stubbed.runtime)

    both = {**started(), **started(entry=REDRIVEN, redrive_count=1), "Gone/0": {"BOOL": True}}
    assert stubbed.item(EXECUTION) == both


def test_a_redrive_starts_what_another_executor_of_it_decided_to_start(stubbed: Stubbed) -> None:
    """Athena has resumed the earlier query since."""
    decided = {f"Adopts/{REDRIVEN}": {"S": ""}}
    stubbed.put_item(EXECUTION, {**started(), **announced(entry=REDRIVEN, redrive_count=1), **decided})
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("RUNNING"))
    request = start_request(ClientRequestToken=REDRIVEN)
    stubbed.expect("StartQueryExecution", request, {"QueryExecutionId": OTHER_QUERY})

    executor.run(redriven(), stubbed.runtime)

    again = started(OTHER_QUERY, entry=REDRIVEN, redrive_count=1)
    assert stubbed.item(EXECUTION) == {**started(), **again}


def test_a_redrive_adopts_what_another_executor_of_it_decided_to_adopt(stubbed: Stubbed) -> None:
    """The earlier query has failed since."""
    decided = {f"Adopts/{REDRIVEN}": {"S": QUERY}}
    stubbed.put_item(EXECUTION, {**started(), **announced(entry=REDRIVEN, redrive_count=1), **decided})
    for _ in range(2):
        stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("FAILED"))
    stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.Failed")

    executor.run(redriven(), stubbed.runtime)

    assert stubbed.item(EXECUTION) == {**started(), **started(entry=REDRIVEN, redrive_count=1)}


@pytest.mark.parametrize("call", ["StartQueryExecution", "GetQueryExecution"])
def test_a_redrive_follows_a_faster_executor_of_it(stubbed: Stubbed, call: str) -> None:
    """That one registers its query while this one finds the query of an executor that died."""

    def register(**_: Any) -> None:
        entry = Entry.read(EXECUTION, redriven()["Start"])
        stubbed.runtime.table.register_start(entry, OTHER_QUERY, NOW)

    stubbed.put_item(EXECUTION, {**announced(), "Gone/0": {"BOOL": True}})
    stubbed.runtime.athena.meta.events.register(f"provide-client-params.athena.{call}", register)
    expect_mismatch(stubbed, claim_request())
    stubbed.expect("StartQueryExecution", start_request(), {"QueryExecutionId": QUERY})
    if call == "GetQueryExecution":
        stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("RUNNING"))

    executor.run(redriven(), stubbed.runtime)

    assert stubbed.item(OTHER_QUERY) == waiting(RedriveCount=number(1))
    both = {**started(), **started(OTHER_QUERY, entry=REDRIVEN, redrive_count=1)}
    assert stubbed.item(EXECUTION) == {**both, "Gone/0": {"BOOL": True}}


def test_a_redriven_wait_asks_for_a_new_start(stubbed: Stubbed) -> None:
    event = task({"QueryString": SQL}, StateName="Wait")
    event["Execution"]["RedriveCount"] = 1
    sent = stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.RunAgain")

    executor.run(event, stubbed.runtime)

    assert json.loads(sent[0]["cause"]) == {"Attempt": 1, "RedriveCount": 1}


def test_a_redrive_resets_the_attempts() -> None:
    again = {**START, "RedriveCount": 1, "RunAgain": {"Attempt": 2, "RedriveCount": 0}}

    assert Entry.read(EXECUTION, again).attempt == 1


@pytest.mark.parametrize("redrive_time", ["2026-01-03T00:00:00Z", "2026-01-03T00:00:00.000000000Z"])
def test_an_entry_begins_with_its_redrive_where_that_is_later(redrive_time: str) -> None:
    entry = Entry.read(EXECUTION, {**START, "RedriveTime": redrive_time})

    assert entry.entered == Entry.read(EXECUTION, {**START, "EnteredTime": "2026-01-03T00:00:00Z"}).entered


def test_an_executions_item_stays_within_its_limit(stubbed: Stubbed) -> None:
    many: dict[str, Any] = {}
    for count in range(MOST_STARTED):
        many |= started(f"query-{count}", entry=f"entry-{count}", redrive_count=count, entered=NOW + count)
    marks = {f"Gone/{count}": {"BOOL": True} for count in range(MOST_STARTED)}
    stubbed.put_item(EXECUTION, {**many, **marks})
    event = task({"QueryString": SQL}, redrive_count=MOST_STARTED)
    token = entry_id(ENTERED, MOST_STARTED)
    for count in reversed(range(MOST_STARTED)):
        query = {"QueryExecutionId": f"query-{count}"}
        stubbed.expect("GetQueryExecution", query, query_execution("FAILED"))
    stubbed.expect(
        "StartQueryExecution", start_request(ClientRequestToken=token), {"QueryExecutionId": QUERY}
    )

    executor.run(event, stubbed.runtime)

    item = stubbed.item(EXECUTION)
    assert sum(name.startswith("Started/") for name in item) == MOST_STARTED
    assert {"Started/entry-0", "Gone/0"} & set(item) == set()
    assert {f"Started/{token}", f"Gone/{MOST_STARTED - 1}"} <= set(item)


def test_a_query_is_registered_after_many_redrives_that_started_nothing(stubbed: Stubbed) -> None:
    """An expression has at most 4 KB (DynamoDB developer guide, "Constraints")."""
    redrives = 400
    stubbed.put_item(EXECUTION, {f"{mark}/{n}": {"BOOL": True} for mark in MARKS for n in range(redrives)})
    token = entry_id(ENTERED, redrives)
    stubbed.expect(
        "StartQueryExecution", start_request(ClientRequestToken=token), {"QueryExecutionId": QUERY}
    )
    lengths: list[int] = []
    stubbed.runtime.table.client.meta.events.register(
        "provide-client-params.dynamodb.UpdateItem",
        lambda params, **_: lengths.append(len(params["UpdateExpression"])),
    )

    executor.run(task({"QueryString": SQL}, redrive_count=redrives), stubbed.runtime)

    assert max(lengths) <= 4_096
    item = stubbed.item(EXECUTION)
    assert {f"Started/{token}", *(f"{mark}/{redrives - 1}" for mark in MARKS)} <= set(item)
    assert len(item) == 1 + len(MARKS) * redrives - 100, "the next entries drop the rest"
