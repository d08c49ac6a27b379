"""An execution that is followed, and the first rows of a result."""

from typing import Any

import pytest

from ops import execution
from ops.execution import Run, follow, read_rows
from tests.unit.stubbed_stack import EXECUTION, MACHINE, NOW, StubbedStack


def described(status: str, **fields: Any) -> dict[str, Any]:
    times = {"startDate": NOW, "stopDate": NOW}
    return {"executionArn": EXECUTION, "stateMachineArn": MACHINE, "status": status, **times, **fields}


def entered(number: int, name: str) -> dict[str, Any]:
    details = {"stateEnteredEventDetails": {"name": name}}
    return {"id": number, "type": "TaskStateEntered", "timestamp": NOW, **details}


def other(number: int) -> dict[str, Any]:
    return {"id": number, "type": "TaskScheduled", "timestamp": NOW}


def test_each_state_is_reported_once_and_in_order(
    stack: StubbedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_SHORTEST_POLL", 0)
    stub = stack.stub("stepfunctions")
    # The history is read from its end: two pages of the first poll, what is new at the second.
    polls: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
        (
            described("RUNNING"),
            [
                {"events": [other(4), entered(3, "Wait")], "nextToken": "2"},
                {"events": [other(2), entered(1, "Start query")]},
            ],
        ),
        (described("RUNNING"), [{"events": [entered(5, "Wait"), other(4)], "nextToken": "2"}]),
        (
            described("SUCCEEDED", output='{"QueryId": "q"}'),
            [{"events": [entered(6, "Done"), entered(5, "Wait")], "nextToken": "2"}],
        ),
    ]
    for answer, pages in polls:
        stub.add_response("describe_execution", answer)
        for page in pages:
            stub.add_response("get_execution_history", page)
    reported: list[str] = []

    run = follow(stack.deployment.client("stepfunctions"), EXECUTION, reported.append)

    assert reported == run.states == ["Start query", "Wait", "Wait", "Done"]
    assert (run.status, run.query_id) == ("SUCCEEDED", "q")


@pytest.mark.parametrize(
    ("cause", "expected"), [('{"QueryId": "q"}', {"QueryId": "q"}), ("no JSON", "no JSON")]
)
def test_an_unsuccessful_execution_has_its_error_and_cause(
    stack: StubbedStack, monkeypatch: pytest.MonkeyPatch, cause: str, expected: Any
) -> None:
    monkeypatch.setattr(execution, "_SHORTEST_POLL", 0)
    stub = stack.stub("stepfunctions")
    stub.add_response("describe_execution", described("FAILED", error="AthenaQuery.Failed", cause=cause))
    stub.add_response("get_execution_history", {"events": []})

    run = follow(stack.deployment.client("stepfunctions"), EXECUTION)

    assert run == Run(
        arn=EXECUTION,
        status="FAILED",
        error="AthenaQuery.Failed",
        cause=expected,
        started=run.started,
        stopped=run.stopped,
    )


def page(*rows: str | None, token: str | None = None) -> dict[str, Any]:
    data = [{"Data": [{} if cell is None else {"VarCharValue": cell}]} for cell in rows]
    columns = {"ColumnInfo": [{"Name": "n", "Type": "varchar"}]}
    return {
        "ResultSet": {"Rows": data, "ResultSetMetadata": columns},
        **({"NextToken": token} if token else {}),
    }


@pytest.mark.parametrize(
    ("pages", "limit", "rows", "more"),
    [
        ([page("n", "1", "2")], 2, ["1", "2"], False),
        ([page("n", "1", "2", "3")], 2, ["1", "2"], True),
        # A statement without a row of column names.
        ([page("1", None)], 2, ["1", None], False),
        # Only the first page has the column names.
        ([page("n", "1", token="2"), page("n")], 5, ["1", "n"], False),
        # No page is read that is not needed.
        ([page("n", "1", "2", "3", token="2")], 2, ["1", "2"], True),
        ([page("n")], 2, [], False),
    ],
)
def test_the_first_rows_are_read_without_the_column_names(
    stack: StubbedStack, pages: list[dict[str, Any]], limit: int, rows: list[str | None], *, more: bool
) -> None:
    for one in pages:
        stack.stub("athena").add_response("get_query_results", one)

    result = read_rows(stack.deployment.client("athena"), "q", limit)

    assert result.columns == ["n"]
    assert (result.rows, result.more) == ([[cell] for cell in rows], more)


@pytest.mark.parametrize(("limit", "size"), [(2, 4), (5_000, 1_000)])
def test_a_page_is_no_larger_than_needed_and_allowed(stack: StubbedStack, limit: int, size: int) -> None:
    stack.stub("athena").add_response(
        "get_query_results", page("n"), {"QueryExecutionId": "q", "MaxResults": size}
    )

    read_rows(stack.deployment.client("athena"), "q", limit)
