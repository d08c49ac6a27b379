"""Every field of the contract on the deployed stack; docs/contract.md names what cannot be tested there."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract import check_cause, check_output
from tests.end_to_end import exposures
from tests.end_to_end.conftest import Deployment, Eventually


def succeed(deployment: Deployment, sql: str, **fields: Any) -> dict[str, Any]:
    """Run a statement that has to succeed, and return its output."""
    run = deployment.run({"QueryString": sql, **fields})
    assert run.error is None, run.cause
    assert run.output is not None
    check_output(run.output)
    return run.output


def preview(deployment: Deployment, sql: str, **fields: Any) -> list[list[str | None]]:
    rows: list[list[str | None]] = succeed(deployment, sql, PreviewRows=100, **fields)["Preview"]["Rows"]
    return rows


def test_a_named_query_runs_in_its_own_database(deployment: Deployment) -> None:
    named = deployment.client("athena").create_named_query(
        Name="airlines",
        Database="flights",
        QueryString="SELECT count(*) FROM airlines",
        WorkGroup=deployment.stack.outputs["WorkGroupName"],
    )["NamedQueryId"]

    run = deployment.run({"NamedQueryId": named, "PreviewRows": 1})

    assert run.output is not None
    assert run.output["Preview"]["Rows"] == [["16"]]


def test_an_unknown_named_query_is_an_invalid_request(deployment: Deployment) -> None:
    run = deployment.run({"NamedQueryId": "00000000-0000-0000-0000-000000000000"})

    assert run.error == "AthenaQuery.InvalidRequest"
    check_cause(run.cause)


def test_database_and_catalog_are_the_querys_context(deployment: Deployment) -> None:
    output = succeed(deployment, "SELECT 1", Database="scratch", Catalog="AwsDataCatalog")

    context = deployment.query(output["QueryId"])["QueryExecutionContext"]
    assert context == {"Database": "scratch", "Catalog": "awsdatacatalog"}


def test_an_earlier_result_is_reused_and_free(deployment: Deployment) -> None:
    sql = "SELECT max(distance) FROM flights"
    first = succeed(deployment, sql)

    second = succeed(deployment, sql, ResultReuseMaxAgeMinutes=5)

    assert (first["Statistics"]["ReusedPreviousResult"], second["Statistics"]["ReusedPreviousResult"]) == (
        False,
        True,
    )
    assert first["EstimatedCostUsd"] > second["EstimatedCostUsd"] == 0
    assert second["OutputLocation"] == first["OutputLocation"]


def test_tables_are_created_filled_unloaded_and_dropped(deployment: Deployment) -> None:
    made = succeed(deployment, "CREATE TABLE scratch.big AS SELECT * FROM airlines WHERE carrier < 'B'")
    filled = succeed(
        deployment, "INSERT INTO scratch.big SELECT * FROM airlines WHERE carrier >= 'V'", Idempotent=False
    )
    unloaded = succeed(
        deployment,
        "UNLOAD (SELECT * FROM scratch.big) TO 's3://sample-data/scratch/u/' WITH (format = 'PARQUET')",
    )

    assert all(one["DataManifestLocation"] for one in (made, filled, unloaded))
    assert preview(deployment, "SELECT carrier FROM scratch.big ORDER BY 1") == [
        ["9E"],
        ["AA"],
        ["AS"],
        ["VX"],
        ["WN"],
        ["YV"],
    ]
    assert ["big"] in preview(deployment, "SHOW TABLES IN scratch")
    dropped = succeed(deployment, "DROP TABLE scratch.big")
    assert (dropped["StatementType"], dropped["EstimatedCostUsd"], dropped["DataManifestLocation"]) == (
        "DDL",
        0,
        None,
    )
    assert ["big"] not in preview(deployment, "SHOW TABLES IN scratch")


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
        ("MSCK REPAIR TABLE airlines", "DDL"),
    ],
)
def test_statements_without_rows_of_a_query_are_free_and_leave_text(
    deployment: Deployment, sql: str, statement_type: str
) -> None:
    output = succeed(deployment, sql)

    assert (output["StatementType"], output["EstimatedCostUsd"]) == (statement_type, 0)
    assert output["OutputLocation"].endswith(".txt")


def test_explain_is_dml_and_leaves_text(deployment: Deployment) -> None:
    output = succeed(deployment, "EXPLAIN SELECT * FROM airlines")

    assert output["StatementType"] == "DML"
    assert output["OutputLocation"].endswith(".txt")


def test_a_prepared_statement_is_executed_with_its_values(deployment: Deployment) -> None:
    succeed(deployment, "PREPARE carriers FROM SELECT name FROM airlines WHERE carrier = ?")

    assert preview(deployment, "EXECUTE carriers USING 'UA'") == [["United Air Lines Inc."]]
    succeed(deployment, "DEALLOCATE PREPARE carriers")


def test_null_is_distinguished_from_the_empty_string(deployment: Deployment) -> None:
    assert preview(deployment, "SELECT NULL, '', 'x'") == [[None, "", "x"]]


def test_a_preview_of_wide_rows_stays_within_the_limit_and_is_marked_as_truncated(
    deployment: Deployment,
) -> None:
    sql = "SELECT n, lpad('x', 1000000, 'x') AS wide FROM UNNEST(sequence(1, 100)) AS t(n)"

    run = deployment.run({"QueryString": sql, "PreviewRows": 100})

    assert run.error is None, run.cause
    output = deployment.client("stepfunctions").describe_execution(executionArn=run.arn)["output"]
    shown = json.loads(output)["Preview"]
    assert len(output.encode()) <= 262_144
    assert shown["Truncated"] is True
    assert len(shown["Rows"]) == 100


def test_a_query_that_someone_stops_is_cancelled(deployment: Deployment, eventually: Eventually) -> None:
    arn = deployment.start({"QueryString": deployment.slow_query()})
    (query_id,) = eventually(lambda: deployment.running_queries(arn))

    deployment.client("athena").stop_query_execution(QueryExecutionId=query_id)

    ended = deployment.ended(arn, eventually)
    assert ended["error"] == "AthenaQuery.Cancelled"
    check_cause(json.loads(ended["cause"]))


@pytest.mark.parametrize("throttle", ["TooManyRequestsException", "ThrottlingException"])
def test_a_throttled_start_is_retried_within_the_same_attempt(deployment: Deployment, throttle: str) -> None:
    # botocore tries three times; then the state machine backs off.
    for _ in range(4):
        deployment.stack.inject_athena_error(throttle)

    run = deployment.run({"QueryString": "SELECT 1", "MaxAttempts": 1})

    assert run.states == ["Start query", "Done"]
    assert run.output is not None
    assert run.output["Attempts"] == 1


def test_a_transient_failure_is_run_again_after_a_visible_back_off(deployment: Deployment) -> None:
    deployment.stack.inject_athena_error("TRANSIENT")

    run = deployment.run({"QueryString": "SELECT 1"})

    assert run.states == ["Start query", "Back off", "Start query", "Done"]
    assert run.output is not None
    assert run.output["Attempts"] == 2


def test_attempts_are_limited(deployment: Deployment) -> None:
    for _ in range(3):
        deployment.stack.inject_athena_error("TRANSIENT")

    run = deployment.run({"QueryString": "SELECT 1", "MaxAttempts": 3})

    assert (run.error, run.cause["Attempts"]) == ("AthenaQuery.TransientFailure", 3)
    check_cause(run.cause)


@pytest.mark.parametrize(
    ("table", "fields", "error"),
    [("w1", {}, "AthenaQuery.TransientFailure"), ("w2", {"Idempotent": True}, None)],
)
def test_a_write_is_retried_only_if_the_caller_allows_it(
    deployment: Deployment, table: str, fields: dict[str, Any], error: str | None
) -> None:
    deployment.stack.inject_athena_error("TRANSIENT")

    run = deployment.run({"QueryString": f"CREATE TABLE scratch.{table} AS SELECT 1 AS one", **fields})

    assert run.error == error


def test_no_log_contains_sql_parameters_or_tokens(deployment: Deployment, eventually: Eventually) -> None:
    planted = ["planted-literal", "planted-parameter", "planted_column"]
    deployment.run(
        {"QueryString": "SELECT 'planted-literal', ?", "ExecutionParameters": ["'planted-parameter'"]}
    )
    deployment.run({"QueryString": "SELECT planted_column FROM flights"})
    deployment.run({"QueryString": "SELECT 1", "planted-literal": 1})
    last = deployment.run({"QueryString": "SELECT 'planted-literal' FROM"})

    eventually(lambda: last.arn in "".join(deployment.log_lines()))
    written = "".join(deployment.log_lines())

    assert '"settled"' in written
    assert [one for one in planted if one in written] == []
    assert [token for token in deployment.tokens() if token in written] == []
    # What the search at the end of the run (conftest.py) reads.
    records = exposures.read(Path(deployment.stack.home) / exposures.FILE)
    assert {kind for kind, _ in records} >= {"secret", "log", "event"}
    assert ("secret", "'planted-parameter'") in records
