"""StartQueryExecution: refusals and idempotency."""

import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.emulator.faults import faults
from tests.athena.conftest import BUCKET, DATABASE, Athena


def refusal(athena: Athena, sql: str, **request: Any) -> tuple[str, str, str]:
    """Error code, AthenaErrorCode and message of a request that has to be refused."""
    with pytest.raises(ClientError) as refused:
        athena.start(sql, **request)
    answer: Any = refused.value.response
    return answer["Error"]["Code"], answer.get("AthenaErrorCode", ""), answer["Error"]["Message"]


def token() -> str:
    return str(uuid.uuid4())


def test_a_token_returns_the_same_query_for_as_long_as_the_request_is_the_same(athena: Athena) -> None:
    once = token()

    first = athena.start("SELECT 1", ClientRequestToken=once)
    second = athena.start("SELECT 1", ClientRequestToken=once)
    athena.ended(first)

    assert first == second == athena.start("SELECT 1", ClientRequestToken=once)


@pytest.mark.parametrize(
    "changed",
    [
        {"sql": "SELECT 2"},
        {"sql": "SELECT 1 "},
        {"context": {"Database": "other"}},
        {"context": {"Catalog": "AwsDataCatalog"}},
        {"ResultConfiguration": {"OutputLocation": f"s3://{BUCKET}/elsewhere/"}},
    ],
)
def test_another_statement_context_or_location_does_not_match_a_known_token(
    athena: Athena, changed: dict[str, Any]
) -> None:
    once = token()
    athena.start("SELECT 1", ClientRequestToken=once)

    answer = refusal(athena, changed.pop("sql", "SELECT 1"), ClientRequestToken=once, **changed)

    assert answer == (
        "InvalidRequestException",
        "IDEMPOTENT_PARAMETER_MISMATCH",
        "Idempotent parameters do not match",
    )


def test_parameters_and_workgroup_are_not_compared(athena: Athena) -> None:
    once = token()

    first = athena.start("SELECT ?", ExecutionParameters=["1"], ClientRequestToken=once)
    athena.work_group(once)

    again = athena.start("SELECT ?", ExecutionParameters=["2"], WorkGroup=once, ClientRequestToken=once)
    assert first == again


def test_a_refused_statement_leaves_its_token_unused(athena: Athena) -> None:
    once = token()
    refusal(athena, "SELEKT 1", ClientRequestToken=once)

    query = athena.run("SELECT 1", ClientRequestToken=once)

    assert query["Query"] == "SELECT 1"


@pytest.mark.parametrize("error", ["TooManyRequestsException", "ThrottlingException"])
def test_a_throttled_start_leaves_its_token_unused(athena: Athena, error: str) -> None:
    once = token()
    faults.inject_athena_error(error)
    with pytest.raises(ClientError, match=error):
        athena.start("SELECT 1", ClientRequestToken=once)

    assert athena.run("SELECT 2", ClientRequestToken=once)["Status"]["State"] == "SUCCEEDED"


def test_a_known_token_returns_its_query_while_athena_is_at_capacity(athena: Athena) -> None:
    once = token()
    first = athena.start("SELECT 1", ClientRequestToken=once)
    faults.inject_athena_error("TooManyRequestsException")

    again = athena.start("SELECT 1", ClientRequestToken=once)

    assert (again, list(faults.athena_errors)) == (first, ["TooManyRequestsException"])
    faults.athena_errors.clear()


def test_a_claim_needs_no_data(athena: Athena) -> None:
    query = athena.run("EXPLAIN SELECT 1", ClientRequestToken=token(), context={"Database": "nowhere"})

    assert query["Status"]["State"] == "SUCCEEDED"


@pytest.mark.parametrize("sql", ["SELECT " + "(" * 3000, "(" * 100_000, "SELECT " + "abs(" * 3000 + "1"])
def test_open_brackets_without_end_are_a_syntax_error(athena: Athena, sql: str) -> None:
    code, athena_code, _ = refusal(athena, sql)

    assert (code, athena_code) == ("InvalidRequestException", "MALFORMED_QUERY")


def test_statements_nest_some_hundred_levels_deep(athena: Athena) -> None:
    assert athena.rows("SELECT " + "(" * 300 + "1" + ")" * 300 + " AS x") == [["x"], ["1"]]


def test_an_unknown_workgroup_is_refused(athena: Athena) -> None:
    assert refusal(athena, "SELECT 1", WorkGroup="nobody") == (
        "InvalidRequestException",
        "INVALID_INPUT",
        "WorkGroup is not found.",
    )


@pytest.mark.parametrize("sql", ["SELECT * FROM t", "SELECT * FROM nowhere.t", "SELECT 1 FROM (TABLE t)"])
def test_a_query_that_reads_a_table_of_an_unknown_catalog_fails(athena: Athena, sql: str) -> None:
    query = athena.run(sql, context={"Catalog": "NoCatalog"})

    status = query["Status"]
    assert status["State"] == "FAILED"
    assert status["StateChangeReason"].startswith("CATALOG_NOT_FOUND: line 1:")
    assert status["StateChangeReason"].endswith("Catalog 'nocatalog' does not exist")
    assert (status["AthenaError"]["ErrorCategory"], status["AthenaError"]["ErrorType"]) == (2, 1006)
    assert query["QueryExecutionContext"] == {"Catalog": "nocatalog", "Database": DATABASE}


def test_an_unknown_catalog_that_nothing_is_read_from_harms_no_query(athena: Athena) -> None:
    assert athena.rows("SELECT 1 AS x", context={"Catalog": "nocatalog"}) == [["x"], ["1"]]


def test_a_query_over_the_scan_limit_of_its_workgroup_is_cancelled_and_billed(
    athena: Athena, events: list[dict[str, Any]]
) -> None:
    megabyte = "x" * 999_999 + "\n"
    athena.put("limited/lines.txt", megabyte * 11)
    athena.run("CREATE EXTERNAL TABLE limited (line string) LOCATION 's3://lake/limited/'")
    athena.work_group("ten-megabytes", BytesScannedCutoffPerQuery=10_000_000)

    query = athena.run("SELECT count(*) FROM limited", WorkGroup="ten-megabytes")

    assert query["Status"]["State"] == "CANCELLED"
    assert query["Status"]["StateChangeReason"] == "Bytes scanned limit was exceeded"
    assert "AthenaError" not in query["Status"]
    assert query["Statistics"]["DataScannedInBytes"] == 11_000_000
    assert [one["currentState"] for one in events[-3:]] == ["QUEUED", "RUNNING", "CANCELLED"]
    assert athena.rows("SELECT count(*) AS lines FROM limited") == [["lines"], ["11"]]


@pytest.mark.parametrize(
    ("sql", "given"),
    [
        ("SELECT '" + "x" * 262_136 + "'", {}),
        # Bytes, not characters.
        ("SELECT '" + "é" * 131_068 + "'", {}),
        ("SELECT ?", {"ExecutionParameters": ["'" + "x" * 1_023 + "'"]}),
    ],
)
def test_a_statement_or_parameter_over_athenas_limit_is_refused(
    athena: Athena, sql: str, given: dict[str, Any]
) -> None:
    code, athena_code, _ = refusal(athena, sql, **given)

    assert (code, athena_code) == ("InvalidRequestException", "INVALID_INPUT")


def test_a_statement_and_a_parameter_at_athenas_limit_are_accepted(athena: Athena) -> None:
    text = "x" * 1_022

    assert athena.rows("SELECT ? AS x", ExecutionParameters=[f"'{text}'"]) == [["x"], [text]]
    padded = "SELECT 1 AS x".ljust(262_144)
    assert athena.rows(padded) == [["x"], ["1"]]
