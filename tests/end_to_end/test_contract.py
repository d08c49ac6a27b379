"""Every field of the contract on the deployed stack; docs/contract.md names what cannot be had there."""

import json
from typing import Any

import pytest

from tests.contract import check_cause, check_output
from tests.end_to_end.conftest import Aws, Eventually


def succeed(aws: Aws, sql: str, **fields: Any) -> dict[str, Any]:
    """Run a statement that has to succeed, and return its output."""
    run = aws.run({"QueryString": sql, **fields})
    assert run.error is None, run.cause
    assert run.output is not None
    check_output(run.output)
    return run.output


def preview(aws: Aws, sql: str, **fields: Any) -> list[list[str | None]]:
    rows: list[list[str | None]] = succeed(aws, sql, PreviewRows=100, **fields)["Preview"]["Rows"]
    return rows


def test_a_named_query_runs_in_its_own_database(aws: Aws) -> None:
    named = aws.client("athena").create_named_query(
        Name="airlines",
        Database="flights",
        QueryString="SELECT count(*) FROM airlines",
        WorkGroup=aws.stack.outputs["WorkGroupName"],
    )["NamedQueryId"]

    run = aws.run({"NamedQueryId": named, "PreviewRows": 1})

    assert run.output is not None
    assert run.output["Preview"]["Rows"] == [["16"]]


def test_an_unknown_named_query_is_an_invalid_request(aws: Aws) -> None:
    run = aws.run({"NamedQueryId": "00000000-0000-0000-0000-000000000000"})

    assert run.error == "AthenaQuery.InvalidRequest"
    check_cause(run.cause)


def test_database_and_catalog_are_the_querys_context(aws: Aws) -> None:
    output = succeed(aws, "SELECT 1", Database="scratch", Catalog="AwsDataCatalog")

    context = aws.query(output["QueryId"])["QueryExecutionContext"]
    assert context == {"Database": "scratch", "Catalog": "awsdatacatalog"}


def test_an_earlier_result_is_reused_and_free(aws: Aws) -> None:
    sql = "SELECT max(distance) FROM flights"
    first = succeed(aws, sql)

    second = succeed(aws, sql, ResultReuseMaxAgeMinutes=5)

    assert (first["Statistics"]["ReusedPreviousResult"], second["Statistics"]["ReusedPreviousResult"]) == (
        False,
        True,
    )
    assert first["EstimatedCostUsd"] > second["EstimatedCostUsd"] == 0
    assert second["OutputLocation"] == first["OutputLocation"]


def test_tables_are_made_filled_unloaded_and_dropped(aws: Aws) -> None:
    made = succeed(aws, "CREATE TABLE scratch.big AS SELECT * FROM airlines WHERE carrier < 'B'")
    filled = succeed(
        aws, "INSERT INTO scratch.big SELECT * FROM airlines WHERE carrier >= 'V'", Idempotent=False
    )
    unloaded = succeed(
        aws,
        "UNLOAD (SELECT * FROM scratch.big) TO 's3://sample-data/scratch/u/' WITH (format = 'PARQUET')",
    )

    assert all(one["DataManifestLocation"] for one in (made, filled, unloaded))
    assert preview(aws, "SELECT carrier FROM scratch.big ORDER BY 1") == [
        ["9E"],
        ["AA"],
        ["AS"],
        ["VX"],
        ["WN"],
        ["YV"],
    ]
    assert ["big"] in preview(aws, "SHOW TABLES IN scratch")
    dropped = succeed(aws, "DROP TABLE scratch.big")
    assert (dropped["StatementType"], dropped["EstimatedCostUsd"], dropped["DataManifestLocation"]) == (
        "DDL",
        0,
        None,
    )
    assert ["big"] not in preview(aws, "SHOW TABLES IN scratch")


@pytest.mark.parametrize(
    ("sql", "statement_type"),
    [
        (
            "CREATE EXTERNAL TABLE scratch.outside (a int) STORED AS PARQUET LOCATION 's3://sample-data/scratch/o/'",
            "DDL",
        ),
        ("CREATE DATABASE IF NOT EXISTS scratch", "DDL"),
        ("SHOW DATABASES", "UTILITY"),
        ("DESCRIBE airlines", "UTILITY"),
        ("EXPLAIN SELECT * FROM airlines", "UTILITY"),
        ("MSCK REPAIR TABLE airlines", "DDL"),
    ],
)
def test_statements_without_rows_of_a_query_are_free_and_leave_text(
    aws: Aws, sql: str, statement_type: str
) -> None:
    output = succeed(aws, sql)

    assert (output["StatementType"], output["EstimatedCostUsd"]) == (statement_type, 0)
    assert output["OutputLocation"].endswith(".txt")


def test_a_prepared_statement_is_executed_with_its_values(aws: Aws) -> None:
    succeed(aws, "PREPARE carriers FROM SELECT name FROM airlines WHERE carrier = ?")

    assert preview(aws, "EXECUTE carriers USING 'UA'") == [["United Air Lines Inc."]]
    succeed(aws, "DEALLOCATE PREPARE carriers")


def test_null_is_kept_apart_from_the_empty_string(aws: Aws) -> None:
    assert preview(aws, "SELECT NULL, '', 'x'") == [[None, "", "x"]]


def test_a_hundred_rows_of_megabytes_preview_within_the_limit_and_say_that_they_were_cut(aws: Aws) -> None:
    sql = "SELECT n, lpad('x', 1000000, 'x') AS wide FROM UNNEST(sequence(1, 100)) AS t(n)"

    run = aws.run({"QueryString": sql, "PreviewRows": 100})

    assert run.error is None, run.cause
    told = aws.client("stepfunctions").describe_execution(executionArn=run.arn)["output"]
    shown = json.loads(told)["Preview"]
    assert len(told.encode()) <= 262_144
    assert shown["Truncated"] is True
    assert len(shown["Rows"]) == 100


def test_a_query_that_somebody_stops_is_cancelled(aws: Aws, eventually: Eventually) -> None:
    arn = aws.start({"QueryString": aws.slow_query()})
    (query_id,) = eventually(lambda: aws.running_queries(arn))

    aws.client("athena").stop_query_execution(QueryExecutionId=query_id)

    ended = aws.ended(arn, eventually)
    assert ended["error"] == "AthenaQuery.Cancelled"
    check_cause(json.loads(ended["cause"]))


@pytest.mark.parametrize("throttle", ["TooManyRequestsException", "ThrottlingException"])
def test_a_throttled_start_is_retried_within_the_same_attempt(aws: Aws, throttle: str) -> None:
    # botocore tries three times; then the state machine backs off.
    for _ in range(4):
        aws.stack.inject_athena_error(throttle)

    run = aws.run({"QueryString": "SELECT 1", "MaxAttempts": 1})

    assert run.states == ["Start query", "Done"]
    assert run.output is not None
    assert run.output["Attempts"] == 1


def test_a_transient_failure_is_run_again_after_a_visible_back_off(aws: Aws) -> None:
    aws.stack.inject_athena_error("TRANSIENT")

    run = aws.run({"QueryString": "SELECT 1"})

    assert run.states == ["Start query", "Back off", "Start query", "Done"]
    assert run.output is not None
    assert run.output["Attempts"] == 2


def test_attempts_come_to_an_end(aws: Aws) -> None:
    for _ in range(3):
        aws.stack.inject_athena_error("TRANSIENT")

    run = aws.run({"QueryString": "SELECT 1", "MaxAttempts": 3})

    assert (run.error, run.cause["Attempts"]) == ("AthenaQuery.TransientFailure", 3)
    check_cause(run.cause)


@pytest.mark.parametrize(
    ("table", "fields", "error"),
    [("w1", {}, "AthenaQuery.TransientFailure"), ("w2", {"Idempotent": True}, None)],
)
def test_a_write_is_run_again_only_if_the_caller_says_so(
    aws: Aws, table: str, fields: dict[str, Any], error: str | None
) -> None:
    aws.stack.inject_athena_error("TRANSIENT")

    run = aws.run({"QueryString": f"CREATE TABLE scratch.{table} AS SELECT 1 AS one", **fields})

    assert run.error == error


def test_nothing_of_a_query_or_a_token_is_in_any_log(aws: Aws, eventually: Eventually) -> None:
    planted = ["planted-literal", "planted-parameter", "planted_column"]
    aws.run({"QueryString": "SELECT 'planted-literal', ?", "ExecutionParameters": ["'planted-parameter'"]})
    aws.run({"QueryString": "SELECT planted_column FROM flights"})
    aws.run({"QueryString": "SELECT 1", "planted-literal": 1})
    last = aws.run({"QueryString": "SELECT 'planted-literal' FROM"})

    eventually(lambda: last.arn in "".join(aws.log_lines()))
    written = "".join(aws.log_lines())

    assert '"settled"' in written
    assert [one for one in planted if one in written] == []
    assert [token for token in aws.tokens() if token in written] == []
