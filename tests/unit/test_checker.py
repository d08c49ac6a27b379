"""The checker: it sends every outcome of a query once, and answers the state machine's polls."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from functions import checker
from functions.queries import PREVIEW_BYTES, PREVIEW_COLUMNS
from functions.runtime import CALL_SECONDS
from functions.time_budget import time_budget
from tests.unit.conftest import NOW, SETTINGS, Stubbed
from tests.unit.samples import (
    ENTERED,
    EXECUTION,
    OTHER_QUERY,
    QUERY,
    START,
    TOKEN,
    athena_error,
    entry_id,
    number,
    query_event,
    query_execution,
    started,
    terms,
    waiting,
)

GET = {"QueryExecutionId": QUERY}


def expect_event(stubbed: Stubbed, answer: dict[str, Any], **changes: Any) -> None:
    """A task waits for the query, whose state GetQueryExecution reports so."""
    stubbed.put_item(QUERY, waiting(**changes))
    stubbed.expect("GetQueryExecution", GET, answer)


def test_success_is_sent_with_what_athena_reports(stubbed: Stubbed) -> None:
    expect_event(stubbed, query_execution("SUCCEEDED"))
    sent = stubbed.expect_callback("SendTaskSuccess", TOKEN)

    checker.run(query_event("SUCCEEDED"), stubbed.runtime)

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
            "DpuCount": None,
        },
        "EstimatedCostUsd": 0.00013,  # 26 megabytes, rounded up
        "SettledBy": "event",
        "Attempts": 1,
        "Labels": {},
    }
    assert stubbed.item(QUERY) == {**terms(), "State": {"S": "SUCCEEDED"}}


@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED"])
def test_labels_are_returned_and_logged(
    stubbed: Stubbed, caplog: pytest.LogCaptureFixture, state: str
) -> None:
    labels = {"team": "growth", "job": "nightly=1"}
    stored = {"M": {key: {"S": value} for key, value in labels.items()}}
    expect_event(stubbed, query_execution(state, error=ERROR_OF[state]), Labels=stored)
    operation = "SendTaskSuccess" if state == "SUCCEEDED" else "SendTaskFailure"
    sent = stubbed.expect_callback(operation, TOKEN)

    checker.run(query_event(state), stubbed.runtime)

    document = json.loads(sent[0].get("output") or sent[0]["cause"])
    assert document["Labels"] == labels
    (line,) = (record for record in caplog.records if record.message == "settled")
    assert vars(line)["labels"] == ["team=growth", "job=nightly=1"]


ERROR_OF = {"SUCCEEDED": None, "FAILED": athena_error()}
READ, WRITE = "SELECT 1", "INSERT INTO t SELECT 1"
TRANSIENT = athena_error(retryable=True)
SCAN_LIMIT = {"StateChangeReason": "Bytes scanned limit was exceeded"}


@pytest.mark.parametrize(
    ("answer", "stored", "error"),
    [
        (query_execution("FAILED", sql=READ, error=athena_error()), {}, "Failed"),
        (query_execution("FAILED", sql=READ, error=TRANSIENT), {}, "RunAgain"),
        (query_execution("FAILED", sql=WRITE, error=TRANSIENT), {}, "TransientFailure"),
        (query_execution("FAILED", sql=WRITE, error=TRANSIENT), {"Idempotent": {"BOOL": True}}, "RunAgain"),
        (query_execution("FAILED", sql=READ, error=TRANSIENT), {"Attempt": number(2)}, "TransientFailure"),
        (query_execution("CANCELLED"), {}, "Cancelled"),
        (query_execution("CANCELLED"), {"DeadlinePassed/0": number(NOW - 1)}, "TimedOut"),
        (query_execution("CANCELLED"), {"DeadlinePassed": number(NOW - 1)}, "TimedOut"),  # an earlier release
        (query_execution("CANCELLED"), {"DeadlinePassed": {"BOOL": True}}, "TimedOut"),  # one before it
        # Athena's clock may be behind; but a query that was cancelled before was not stopped at its deadline.
        (query_execution("CANCELLED"), {"DeadlinePassed/0": number(NOW + 1.9)}, "TimedOut"),
        (query_execution("CANCELLED"), {"DeadlinePassed/0": number(NOW + 2.1)}, "Cancelled"),
        (query_execution("CANCELLED"), {"StopRequested": {"BOOL": True}}, "RunAgain"),
        # A redrive has adopted it while it was stopped at the deadline of the earlier run.
        (
            query_execution("CANCELLED"),
            {"DeadlinePassed/0": number(NOW - 1), "RedriveCount": number(1)},
            "RunAgain",
        ),
        (query_execution("CANCELLED", Status=SCAN_LIMIT), {}, "ScanLimitExceeded"),
    ],
)
def test_each_failure_has_its_name(
    stubbed: Stubbed, answer: dict[str, Any], stored: dict[str, Any], error: str
) -> None:
    expect_event(stubbed, answer, **stored)
    sent = stubbed.expect_callback("SendTaskFailure", TOKEN, error=f"AthenaQuery.{error}")

    checker.run(query_event(answer["QueryExecution"]["Status"]["State"]), stubbed.runtime)

    cause = json.loads(sent[0]["cause"])
    if error != "RunAgain":
        assert (cause["QueryId"], cause["DataScannedInBytes"]) == (QUERY, 25_000_001)
    else:
        # A query that was stopped for an earlier run does not count as an attempt.
        attempt = 1 if {"StopRequested", "DeadlinePassed/0"} & set(stored) else 2
        assert cause == {"Attempt": attempt, "RedriveCount": 1 if "RedriveCount" in stored else 0}


@pytest.mark.parametrize(
    ("retryable", "category", "error_type", "error"),
    [
        (True, 2, 1001, "RunAgain"),
        (False, 1, 100, "Failed"),
        (False, 1, 1003, "Failed"),  # a DDL parse error, as measured on Athena
        (False, 1, 1502, "Failed"),  # Glue validation, likewise
        (None, 1, 0, "RunAgain"),
        (None, 2, 0, "Failed"),
        *((None, 1, recurring, "Failed") for recurring in (206, 210, 1003, 1006, 1401, 1500, 1501, 1502)),
    ],
)
def test_retryable_decides_and_category_1_only_without_it(
    stubbed: Stubbed, retryable: bool | None, category: int, error_type: int, error: str
) -> None:
    failure = athena_error(retryable=retryable, category=category, error_type=error_type)
    expect_event(stubbed, query_execution("FAILED", sql=READ, error=failure))
    stubbed.expect_callback("SendTaskFailure", TOKEN, error=f"AthenaQuery.{error}")

    checker.run(query_event("FAILED"), stubbed.runtime)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({}, "Cannot cast 'someone@example.com'"),
        ({"AthenaError": None}, "Athena ended the query as FAILED and gave no reason."),
    ],
)
def test_a_failure_has_a_reason_although_athena_gives_none(
    stubbed: Stubbed, status: dict[str, Any], reason: str
) -> None:
    answer = query_execution("FAILED", error=athena_error(), Status={"StateChangeReason": "", **status})
    known = answer["QueryExecution"]["Status"]
    answer["QueryExecution"]["Status"] = {name: value for name, value in known.items() if value is not None}
    expect_event(stubbed, answer)
    sent = stubbed.expect_callback("SendTaskFailure", TOKEN, error="AthenaQuery.Failed")

    checker.run(query_event("FAILED"), stubbed.runtime)

    assert json.loads(sent[0]["cause"])["Reason"] == reason


def test_times_are_utc_whatever_the_time_zone_of_the_host(stubbed: Stubbed) -> None:
    host = timezone(timedelta(hours=-5))
    times = {"CompletionDateTime": datetime.fromtimestamp(NOW, host)}
    expect_event(stubbed, query_execution("SUCCEEDED", Status=times))
    sent = stubbed.expect_callback("SendTaskSuccess", TOKEN)

    checker.run(query_event("SUCCEEDED"), stubbed.runtime)

    assert json.loads(sent[0]["output"])["CompletionDateTime"] == "2026-01-02T03:04:05.000+00:00"


def test_the_scan_limit_is_reported_with_bytes_cost_and_setting(stubbed: Stubbed) -> None:
    expect_event(stubbed, query_execution("CANCELLED", Status=SCAN_LIMIT))
    sent = stubbed.expect_callback("SendTaskFailure", TOKEN)

    checker.run(query_event("CANCELLED"), stubbed.runtime)

    cause = json.loads(sent[0]["cause"])
    assert "25,000,001 bytes" in cause["Reason"]
    assert f"{SETTINGS.bytes_scanned_limit:,} bytes" in cause["Reason"]
    assert cause["EstimatedCostUsd"] == pytest.approx(0.00013)
    assert "bytesScannedLimit" in cause["Advice"]


def test_an_event_for_an_unregistered_query_is_recorded(stubbed: Stubbed) -> None:
    checker.run(query_event("SUCCEEDED"), stubbed.runtime)

    assert stubbed.item(QUERY) == {"State": {"S": "SUCCEEDED"}}


def test_an_event_before_athena_reports_the_end_is_settled_within_seconds(
    stubbed: Stubbed,
) -> None:
    expect_event(stubbed, query_execution("RUNNING"))
    stubbed.expect("GetQueryExecution", GET, query_execution("RUNNING"))
    stubbed.expect("GetQueryExecution", GET, query_execution("SUCCEEDED"))
    stubbed.expect_callback("SendTaskSuccess", TOKEN)

    checker.run(query_event("SUCCEEDED"), stubbed.runtime)

    assert stubbed.clock.now - NOW < 2


def test_an_event_that_athena_never_confirms_settles_nothing(stubbed: Stubbed) -> None:
    stubbed.put_item(QUERY, waiting())
    for _ in range(4):
        stubbed.expect("GetQueryExecution", GET, query_execution("RUNNING"))

    checker.run(query_event("FAILED"), stubbed.runtime)

    assert stubbed.item(QUERY)["TaskToken"] == {"S": TOKEN}
    assert stubbed.clock.now - NOW < 5


def test_an_outcome_is_measured_with_its_lag(stubbed: Stubbed, measured: dict[str, float]) -> None:
    stubbed.clock.now = NOW + 2.5
    expect_event(stubbed, query_execution("SUCCEEDED"))
    stubbed.expect_callback("SendTaskSuccess", TOKEN)

    checker.run(query_event("SUCCEEDED"), stubbed.runtime)

    assert measured == {
        "Succeeded": 1,
        "SettledByEvent": 1,
        "CallbackLag": 2500,
        "DataScanned": 25_000_001,
        "EstimatedCost": 0.00013,
        "QueueTime": 0,
        "PlanningTime": 0,
        "EngineTime": 0,
    }


def test_a_query_that_ends_ahead_of_this_clock_has_no_lag(
    stubbed: Stubbed, measured: dict[str, float]
) -> None:
    stubbed.clock.now = NOW - 2.5
    expect_event(stubbed, query_execution("SUCCEEDED"))
    stubbed.expect_callback("SendTaskSuccess", TOKEN)

    checker.run(query_event("SUCCEEDED"), stubbed.runtime)

    assert measured["CallbackLag"] == 0


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist"])
def test_a_used_token_is_not_an_error(stubbed: Stubbed, measured: dict[str, float], code: str) -> None:
    expect_event(stubbed, query_execution("SUCCEEDED"))
    stubbed.stubs["stepfunctions"].add_client_error("send_task_success", service_error_code=code)

    checker.run(query_event("SUCCEEDED"), stubbed.runtime)

    assert "TaskToken" not in stubbed.item(QUERY)
    assert measured == {"LateCallbacks": 1}


def test_a_newer_token_is_kept(stubbed: Stubbed) -> None:
    expect_event(stubbed, query_execution("SUCCEEDED"))
    stubbed.expect_callback("SendTaskSuccess", TOKEN)

    def replace(**_: Any) -> None:
        stubbed.runtime.table.store_token(QUERY, "a newer token", None, NOW)

    stubbed.runtime.stepfunctions.meta.events.register("provide-client-params.stepfunctions.*", replace)

    checker.run(query_event("SUCCEEDED"), stubbed.runtime)

    assert stubbed.item(QUERY)["TaskToken"] == {"S": "a newer token"}


# Polls.

POLL = {"ExecutionId": EXECUTION, "Start": START}


@pytest.mark.parametrize(
    ("age", "deadline", "passed", "seconds"),
    [
        (0, None, False, 30),
        (299, None, False, 30),
        (3_600, None, False, 360),
        (43_200, None, False, 4_320),
        (0, 7.5, False, 8),
        (0, 100, False, 30),
        (3_600, 100, False, 100),
        # A deadline that has just passed on this host's clock, but not on the executor's.
        (0, -0.5, False, 1),
        (0, -1, True, 30),
    ],
)
def test_a_poll_returns_the_interval_until_the_next_one(
    stubbed: Stubbed, age: float, deadline: float | None, passed: bool, seconds: int
) -> None:
    stubbed.clock.now += age
    changes = {} if deadline is None else {"Deadline": number(stubbed.clock.now + deadline)}
    stubbed.put_item(EXECUTION, started())
    if passed:
        changes["DeadlinePassed/0"] = number(stubbed.clock.now - 1)
    stubbed.put_item(QUERY, waiting(**changes))
    stubbed.expect("GetQueryExecution", GET, query_execution("RUNNING"))

    answer = checker.run(POLL, stubbed.runtime)

    assert answer == {"QueryId": QUERY, "State": "RUNNING", "WaitSeconds": seconds}


def test_an_ended_query_has_no_deadline_to_hurry_for(stubbed: Stubbed) -> None:
    # "Failed" waits this long: at one second each, its retries would reach the limit of history events.
    stubbed.put_item(EXECUTION, started())
    stubbed.put_item(QUERY, waiting(Deadline=number(NOW - 5)))
    stubbed.expect("GetQueryExecution", GET, query_execution("CANCELLED"))

    answer = checker.run(POLL, stubbed.runtime)

    assert answer == {"QueryId": QUERY, "State": "CANCELLED", "WaitSeconds": 30}


def test_a_poll_of_a_query_that_succeeded_returns_its_output(stubbed: Stubbed) -> None:
    stubbed.put_item(EXECUTION, started())
    stubbed.put_item(QUERY, waiting())
    stubbed.expect("GetQueryExecution", GET, query_execution("SUCCEEDED"))

    answer = checker.run(POLL, stubbed.runtime)

    assert answer is not None
    assert (answer["State"], answer["Output"]["SettledBy"]) == ("SUCCEEDED", "poll")


@pytest.mark.parametrize("item", [{}, started()])
@pytest.mark.parametrize(("age", "wait_seconds"), [(1, 5), (60, 6), (300, 30)])
def test_an_unregistered_query_is_unknown_and_polled_soon(
    stubbed: Stubbed, item: dict[str, Any], age: float, wait_seconds: int
) -> None:
    """Its deadline is unknown too, and may be near."""
    stubbed.clock.now = NOW + age
    stubbed.put_item(EXECUTION, item)

    answer = checker.run(POLL, stubbed.runtime)

    assert answer is not None
    assert (answer["State"], answer["WaitSeconds"]) == ("UNKNOWN", wait_seconds)


def test_a_query_with_the_terms_of_an_earlier_run_is_unknown(stubbed: Stubbed) -> None:
    entry = entry_id(ENTERED, 1)
    stubbed.put_item(EXECUTION, started(entry=entry, redrive_count=1))
    stubbed.put_item(QUERY, waiting())

    answer = checker.run({**POLL, "Start": {**START, "RedriveCount": 1}}, stubbed.runtime)

    assert answer is not None
    assert answer["State"] == "UNKNOWN"


# Previews.


def preview(stubbed: Stubbed, columns: list[str], rows: list[list[str | None]], wanted: int = 2) -> Any:
    """The preview in the output, if GetQueryResults returns these columns and rows."""
    expect_event(stubbed, query_execution("SUCCEEDED"), PreviewRows=number(wanted))
    data = [{"Data": [{} if cell is None else {"VarCharValue": cell} for cell in row]} for row in rows]
    metadata = {"ColumnInfo": [{"Name": name, "Type": "varchar"} for name in columns]}
    stubbed.expect(
        "GetQueryResults",
        {"QueryExecutionId": QUERY, "MaxResults": 10},
        {"ResultSet": {"Rows": data, "ResultSetMetadata": metadata}},
    )
    sent = stubbed.expect_callback("SendTaskSuccess", TOKEN)
    checker.run(query_event("SUCCEEDED"), stubbed.runtime)
    return json.loads(sent[0]["output"])["Preview"]


def test_a_preview_distinguishes_null_from_the_empty_string_and_cuts_wide_cells(stubbed: Stubbed) -> None:
    shown = preview(stubbed, ["name"], [["name"], ["x" * 2000], [""], [None]])

    assert shown["Rows"][1:] == [[""]]
    assert len(shown["Rows"][0][0]) == 1024
    assert shown["Truncated"] is True


def test_a_first_row_that_is_not_the_column_names_is_a_row(stubbed: Stubbed) -> None:
    assert preview(stubbed, ["n"], [["1"], ["2"]])["Rows"] == [["1"], ["2"]]


def test_a_row_of_describe_is_split_into_its_columns(stubbed: Stubbed) -> None:
    rows: list[list[str | None]] = [["carrier             \tstring              \t"], ["# Partition"]]

    shown = preview(stubbed, ["col_name", "data_type", "comment"], rows)

    assert shown["Rows"] == [["carrier", "string", ""], ["# Partition", "", ""]]


def test_columns_that_are_left_out_are_marked(stubbed: Stubbed) -> None:
    names = [f"c{number}" for number in range(PREVIEW_COLUMNS + 1)]

    shown = preview(stubbed, names, [["1"] * len(names)])

    assert [column["Name"] for column in shown["Columns"]] == names[:-1]
    assert (shown["Rows"], shown["Truncated"]) == ([["1"] * PREVIEW_COLUMNS], True)


def test_a_preview_may_need_several_pages(stubbed: Stubbed) -> None:
    expect_event(stubbed, query_execution("SUCCEEDED"), PreviewRows=number(20))
    metadata = {"ColumnInfo": [{"Name": "n", "Type": "varchar"}]}
    for token, cells in ((None, ["n", *"123456789"]), ("2", ["n"])):
        rows = [{"Data": [{"VarCharValue": cell}]} for cell in cells]
        answer: dict[str, Any] = {"ResultSet": {"Rows": rows, "ResultSetMetadata": metadata}}
        stubbed.expect(
            "GetQueryResults",
            {"QueryExecutionId": QUERY, "MaxResults": 10, **({"NextToken": token} if token else {})},
            answer | ({} if token else {"NextToken": "2"}),
        )
    sent = stubbed.expect_callback("SendTaskSuccess", TOKEN)

    checker.run(query_event("SUCCEEDED"), stubbed.runtime)

    # The second page has no row of column names, so this is a value.
    assert json.loads(sent[0]["output"])["Preview"]["Rows"] == [[one] for one in "123456789n"]


def test_a_statement_without_columns_has_an_empty_preview(stubbed: Stubbed) -> None:
    assert preview(stubbed, [], []) == {"Columns": [], "Rows": [], "Truncated": False}


@pytest.mark.parametrize("width", [255, 10])
def test_an_output_keeps_within_the_limit_of_step_functions(stubbed: Stubbed, width: int) -> None:
    """With four bytes for each character, 200 names once exceeded Step Functions' limit."""
    names = [chr(0x1F600 + number) * width for number in range(PREVIEW_COLUMNS + 1)]
    rows: list[list[str | None]] = [["\x01" * 5_000 for _ in names] for _ in range(10)]

    shown = preview(stubbed, names, rows, wanted=10)

    assert len(json.dumps(shown, ensure_ascii=False).encode()) < PREVIEW_BYTES + 10_000
    assert shown["Truncated"] is True


@pytest.mark.parametrize("code", ["AccessDeniedException", "InternalServerException", "SomethingNew"])
def test_a_query_whose_preview_cannot_be_read_succeeds(stubbed: Stubbed, code: str) -> None:
    expect_event(stubbed, query_execution("SUCCEEDED"), PreviewRows=number(2))
    stubbed.expect_error("GetQueryResults", {"QueryExecutionId": QUERY, "MaxResults": 10}, code)
    sent = stubbed.expect_callback("SendTaskSuccess", TOKEN)

    checker.run(query_event("SUCCEEDED"), stubbed.runtime)

    assert json.loads(sent[0]["output"])["Preview"] is None


def test_a_preview_that_is_read_slowly_leaves_time_for_the_callback(
    stubbed: Stubbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the function's 30 seconds, each page takes two."""
    expect_event(stubbed, query_execution("SUCCEEDED"), PreviewRows=number(100))
    row = {"Data": [{"VarCharValue": "1"}]}
    metadata = {"ColumnInfo": [{"Name": "n", "Type": "varchar"}]}
    page = {"ResultSet": {"Rows": [row] * 10, "ResultSetMetadata": metadata}}
    request = {"QueryExecutionId": QUERY, "MaxResults": 10}
    for at in range(6):
        token = {"NextToken": str(at)} if at else {}
        more = {"NextToken": str(at + 1)}
        stubbed.expect("GetQueryResults", {**request, **token}, {**page, **more})
    sent = stubbed.expect_callback("SendTaskSuccess", TOKEN)
    for client in (stubbed.runtime.athena, stubbed.runtime.stepfunctions):
        client.meta.events.register_first("before-call", lambda **_: time_budget.require(CALL_SECONDS))
    stubbed.runtime.athena.meta.events.register(
        "after-call.athena.GetQueryResults", lambda **_: stubbed.clock.sleep(2)
    )
    monkeypatch.setattr(time_budget, "_remaining_ms", lambda: (NOW + 30 - stubbed.clock.now) * 1000)

    checker.run(query_event("SUCCEEDED"), stubbed.runtime)

    assert json.loads(sent[0]["output"])["Preview"] is None


def test_a_preview_of_an_unknown_shape_does_not_fail_its_query(stubbed: Stubbed) -> None:
    expect_event(stubbed, query_execution("SUCCEEDED"), PreviewRows=number(2))
    stubbed.expect("GetQueryResults", {"QueryExecutionId": QUERY, "MaxResults": 10})
    sent = stubbed.expect_callback("SendTaskSuccess", TOKEN)

    checker.run(query_event("SUCCEEDED"), stubbed.runtime)

    assert json.loads(sent[0]["output"])["Preview"] is None


def test_an_event_of_another_query_does_not_affect_this_one(stubbed: Stubbed) -> None:
    stubbed.put_item(OTHER_QUERY, waiting())

    checker.run(query_event("SUCCEEDED"), stubbed.runtime)

    assert stubbed.item(OTHER_QUERY) == waiting()
