"""The type of each statement, the location of its result, and what GetQueryResults returns."""

from typing import Any

import pytest

from local.emulator.athena import statements
from local.emulator.athena.errors import Refused
from tests.athena.conftest import BUCKET, Athena


@pytest.mark.parametrize(
    ("sql", "kind", "statement_type"),
    [
        ("SELECT 1;", "SELECT", "DML"),
        ("-- a comment\n WITH a AS (SELECT 1 AS x) SELECT * FROM a", "SELECT", "DML"),
        ("/* SHOW TABLES */ SELECT 1", "SELECT", "DML"),
        ("(SELECT 1)", "SELECT", "DML"),
        ("SELECT(1)", "SELECT", "DML"),
        ("TABLE t", "SELECT", "DML"),
        ("VALUES (1)", "SELECT", "DML"),
        ("INSERT INTO t SELECT 1", "INSERT", "DML"),
        ("INSERT INTO t (a, b) VALUES (1, 2)", "INSERT", "DML"),
        ("UPDATE t SET a = 1", "UPDATE", "DML"),
        ("DELETE FROM t", "DELETE", "DML"),
        ("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", "MERGE", "DML"),
        ("UNLOAD (SELECT 1 AS x) TO 's3://b/t/' WITH (format = 'PARQUET')", "UNLOAD", "DML"),
        ("EXPLAIN SELECT 1", "EXPLAIN", "DML"),
        ("EXPLAIN ANALYZE SELECT 1", "EXPLAIN", "DML"),
        ("EXPLAIN (TYPE IO) SELECT 1", "EXPLAIN", "DML"),
        ("CREATE TABLE t WITH (format = 'PARQUET') AS SELECT 1 AS x", "CREATE_TABLE_AS_SELECT", "DDL"),
        ("CREATE TABLE t AS (SELECT 1 AS x) WITH NO DATA", "CREATE_TABLE_AS_SELECT", "DDL"),
        ("CREATE EXTERNAL TABLE t (a int) LOCATION 's3://b/t/'", "CREATE_TABLE", "DDL"),
        ("DROP TABLE IF EXISTS t", "DROP_TABLE", "DDL"),
        ("CREATE OR REPLACE VIEW v AS SELECT 1 AS x", "CREATE_VIEW", "DDL"),
        ("DROP VIEW v", "DROP_VIEW", "DDL"),
        ("CREATE SCHEMA IF NOT EXISTS s", "CREATE_DATABASE", "DDL"),
        ("DROP DATABASE s CASCADE", "DROP_DATABASE", "DDL"),
        ("ALTER TABLE t ADD COLUMNS (b int)", "ALTER_TABLE_ADD_COLUMN", "DDL"),
        ("ALTER TABLE t REPLACE COLUMNS (b int)", "ALTER_TABLE_REPLACE_COLUMN", "DDL"),
        ("ALTER TABLE t ADD IF NOT EXISTS PARTITION (p = 'a')", "ALTER_TABLE_ADD_PARTITION", "DDL"),
        ("ALTER TABLE t DROP PARTITION (p = 'a')", "ALTER_TABLE_DROP_PARTITION", "DDL"),
        ("ALTER TABLE t SET LOCATION 's3://b/u/'", "ALTER_TABLE_SET_LOCATION", "DDL"),
        ("ALTER TABLE t SET TBLPROPERTIES ('a' = 'b')", "ALTER_TABLE_PROPERTIES", "DDL"),
        ("ALTER TABLE t RENAME TO u", "ALTER_TABLE_RENAME", "DDL"),
        ("MSCK REPAIR TABLE t", "MSCK_REPAIR", "DDL"),
        ("SHOW TABLES", "SHOW_TABLES", "UTILITY"),
        ("SHOW TABLES IN s '.*x'", "SHOW_TABLES", "UTILITY"),
        ("SHOW VIEWS", "SHOW_VIEWS", "UTILITY"),
        ("SHOW SCHEMAS", "SHOW_DATABASES", "UTILITY"),
        ("SHOW COLUMNS IN t", "SHOW_COLUMNS", "UTILITY"),
        ("SHOW PARTITIONS t", "SHOW_PARTITIONS", "UTILITY"),
        ("SHOW TBLPROPERTIES t", "SHOW_TABLE_PROPERTIES", "UTILITY"),
        ("SHOW CREATE TABLE t", "SHOW_CREATE_TABLE", "UTILITY"),
        ("SHOW CREATE VIEW v", "SHOW_CREATE_VIEW", "UTILITY"),
        ("DESCRIBE t", "DESCRIBE_TABLE", "UTILITY"),
        ("DESC `s`.`t`", "DESCRIBE_TABLE", "UTILITY"),
    ],
)
def test_statements_are_classified_as_athena_does(sql: str, kind: str, statement_type: str) -> None:
    statement = statements.read(sql)

    assert (statement.kind, statement.type) == (kind, statement_type)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        (" ; ", "Empty sql statement"),
        ("-- only", "line 1:8: mismatched input '<EOF>'"),
        ("SELEC 1", "line 1:1: mismatched input 'SELEC'. Expecting: 'ALTER', 'ANALYZE'"),
        ("SELECT 1; SELECT 2", "Only one sql statement is allowed. Got: SELECT 1; SELECT 2"),
        ("SELECT 1 +", "mismatched input '<EOF>'"),
        ("SELECT * FROM t WHERE )", "line 1:23: mismatched input ')'"),
        ("EXPLAIN SELEC 1", "line 1:9: mismatched input 'SELEC'"),
        ("TRUNCATE TABLE t", "Queries of this type are not supported"),
        ("CREATE OR REPLACE TABLE t AS SELECT 1 AS x", "line 1:19: mismatched input 'TABLE'. Expecting:"),
        ("CREATE TABLE t (a int)", "No location was specified for table."),
        ("CREATE TABLE t (a int) LOCATION 's3://b/'", "External keyword required for table type HIVE"),
        ("ALTER TABLE IF EXISTS t ADD COLUMNS (a int)", "no viable alternative at input 'ALTER TABLE IF"),
        ("ALTER TABLE t ADD COLUMN a int", "no viable alternative at input"),
        ('DROP TABLE "t"', "line 1:12: no viable alternative at input 'DROP TABLE \"t\"'"),
        ("INSERT t SELECT 1", "line 1:8: mismatched input 't'"),
        ("SHOW TABLES IN s x", "line 1:18: mismatched input 'x'"),
        ("SELECT * FROM a.b.c.d", "line 1:20: mismatched input '.'"),
    ],
)
def test_what_is_not_one_statement_is_refused(sql: str, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        statements.read(sql)

    assert reason in str(refused.value)


def shown(athena: Athena, sql: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A statement's QueryExecution and its GetQueryResults."""
    query = athena.run(sql)
    assert query["Status"]["State"] == "SUCCEEDED", query["Status"]
    return query, athena.results(query["QueryExecutionId"])


def rows(results: dict[str, Any]) -> list[list[str | None]]:
    return [[cell.get("VarCharValue") for cell in row["Data"]] for row in results["ResultSet"]["Rows"]]


def columns(results: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["Name"], one["Type"]) for one in results["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]]


def test_a_query_has_a_header_row_and_a_csv_file(athena: Athena) -> None:
    query, results = shown(athena, "SELECT 1 AS one, '' AS empty, CAST(NULL AS varchar) AS none")

    assert rows(results) == [["one", "empty", "none"], ["1", "", None]]
    assert results["UpdateCount"] == 0
    assert query["ResultConfiguration"]["OutputLocation"].endswith(f"{query['QueryExecutionId']}.csv")
    assert athena.object(query["ResultConfiguration"]["OutputLocation"]) == '"one","empty","none"\n"1","",\n'


def test_a_column_without_a_name_is_named_by_its_position(athena: Athena) -> None:
    _, results = shown(athena, "SELECT 1, 'a' AS named, count(*) FROM (VALUES 1) AS t(x)")

    assert rows(results)[0] == ["_col0", "named", "_col2"]
    assert [name for name, _ in columns(results)] == ["_col0", "named", "_col2"]


def test_explain_is_dml_with_a_header_row_and_costs_nothing(athena: Athena) -> None:
    query, results = shown(athena, "EXPLAIN SELECT 1")

    assert (query["StatementType"], query["SubstatementType"]) == ("DML", "EXPLAIN")
    assert rows(results)[0] == ["Query Plan"]
    assert rows(results)[-3:] == [[""], [""], [""]]
    assert query["Statistics"]["DataScannedInBytes"] == 0
    text = athena.object(query["ResultConfiguration"]["OutputLocation"])
    assert query["ResultConfiguration"]["OutputLocation"].endswith(".txt")
    assert text.split("\n") == [row[0] for row in rows(results)]


def test_a_ctas_is_ddl_without_rows_and_with_a_manifest(athena: Athena) -> None:
    query, results = shown(athena, "CREATE TABLE made AS SELECT 1 AS x UNION ALL SELECT 2")

    assert (query["StatementType"], query["SubstatementType"]) == ("DDL", "CREATE_TABLE_AS_SELECT")
    assert (rows(results), columns(results), results["UpdateCount"]) == ([], [("rows", "bigint")], 2)
    location = query["ResultConfiguration"]["OutputLocation"]
    assert location == f"s3://{BUCKET}/results/tables/{query['QueryExecutionId']}"
    assert query["Statistics"]["DataManifestLocation"] == f"{location}-manifest.csv"
    assert athena.object(f"{location}-manifest.csv").startswith(f"{location}/")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE without_rows AS SELECT 1 AS x WHERE false",
        "CREATE TABLE without_data AS SELECT 1 AS x WITH NO DATA",
    ],
)
def test_a_write_of_no_rows_leaves_no_manifest(athena: Athena, sql: str) -> None:
    created, results = shown(athena, sql)
    table = sql.split()[2]
    inserted, _ = shown(athena, f"INSERT INTO {table} SELECT 1 WHERE false")

    assert results["UpdateCount"] == 0
    assert "DataManifestLocation" not in created["Statistics"]
    assert "DataManifestLocation" not in inserted["Statistics"]
    assert athena.rows(f"SELECT * FROM {table}") == [["x"]]


def test_an_insert_has_no_rows_and_a_manifest(athena: Athena) -> None:
    athena.run("CREATE TABLE filled AS SELECT 1 AS x")

    query, results = shown(athena, "INSERT INTO filled VALUES (2), (3)")

    assert (rows(results), columns(results), results["UpdateCount"]) == ([], [("rows", "bigint")], 2)
    location = query["ResultConfiguration"]["OutputLocation"]
    assert location == f"s3://{BUCKET}/results/{query['QueryExecutionId']}"
    assert query["Statistics"]["DataManifestLocation"] == f"{location}-manifest.csv"
    assert athena.rows("SELECT sum(x) AS total FROM filled") == [["total"], ["6"]]


def test_show_has_no_header_row(athena: Athena) -> None:
    athena.run("CREATE DATABASE shown")
    athena.run("CREATE TABLE shown.a AS SELECT 1 AS x")
    query, results = shown(athena, "SHOW TABLES IN shown")

    assert (rows(results), columns(results)) == ([["a"]], [("tab_name", "string")])
    assert athena.object(query["ResultConfiguration"]["OutputLocation"]) == "a"


def test_describe_has_three_columns_and_one_cell(athena: Athena) -> None:
    athena.run(
        "CREATE EXTERNAL TABLE described (id int COMMENT 'the key', tags array<string>) "
        "PARTITIONED BY (day string) LOCATION 's3://lake/described/'"
    )

    query, results = shown(athena, "DESCRIBE sales.described")

    assert columns(results) == [("col_name", "string"), ("data_type", "string"), ("comment", "string")]
    assert [row[0] for row in rows(results)] == [
        "id                  \tint                 \tthe key             ",
        "tags                \tarray<string>       \t                    ",
        "day                 \tstring              \t                    ",
        "\t \t ",
        "# Partition Information\t \t ",
        "# col_name          \tdata_type           \tcomment             ",
        "\t \t ",
        "day                 \tstring              \t                    ",
    ]
    assert (query["Query"], query["QueryExecutionContext"]["Database"]) == ("DESCRIBE described", "sales")


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE IF EXISTS nothing",
        "CREATE DATABASE IF NOT EXISTS sales",
        "ALTER TABLE d SET TBLPROPERTIES ('a'='b')",
    ],
)
def test_ddl_has_neither_rows_nor_columns(athena: Athena, sql: str) -> None:
    athena.run("CREATE EXTERNAL TABLE IF NOT EXISTS d (a int) LOCATION 's3://lake/d/'")

    query, results = shown(athena, sql)

    assert (query["StatementType"], rows(results), columns(results)) == ("DDL", [], [])
    assert "UpdateCount" not in results
    assert athena.object(query["ResultConfiguration"]["OutputLocation"]) == ""


@pytest.mark.parametrize(
    ("sql", "category", "error_type", "reason"),
    [
        ("SHOW CREATE /* c */ TABLE d", 1, 1003, "FAILED: ParseException line 1:12 cannot recognize input"),
        ("DESCRIBE /* c */ d", 1, 1003, "FAILED: ParseException line 1:9"),
        (
            "SHOW TABLES IN nowhere",
            1,
            1502,
            "FAILED: SemanticException [Error 10072]: Database does not exist",
        ),
        (
            "DROP TABLE nothing",
            2,
            1301,
            "FAILED: SemanticException [Error 10001]: Table not found sales.nothing",
        ),
        ("CREATE DATABASE sales", 2, 1006, "Database sales already exists"),
        ("CREATE EXTERNAL TABLE d (a int) LOCATION 's3://lake/d/'", 2, 1006, "already exist"),
        ("ALTER TABLE d RENAME TO e", 2, 1006, "Query type not supported by DDL engine."),
        ("DELETE FROM d", 2, 1200, "NOT_SUPPORTED: DELETE is not supported locally"),
    ],
)
def test_a_failed_statement_has_athenas_category_and_type(
    athena: Athena, sql: str, category: int, error_type: int, reason: str
) -> None:
    athena.run("CREATE EXTERNAL TABLE IF NOT EXISTS d (a int) LOCATION 's3://lake/d/'")

    status = athena.run(sql)["Status"]

    assert status["State"] == "FAILED"
    assert reason in status["StateChangeReason"]
    error = status["AthenaError"]
    assert (error["ErrorCategory"], error["ErrorType"], error["Retryable"]) == (category, error_type, False)


def test_results_come_in_pages(athena: Athena) -> None:
    query_id = athena.ended(athena.start("SELECT n FROM UNNEST(sequence(1, 5)) AS t(n)"))["QueryExecutionId"]

    first = athena.results(query_id, MaxResults=4)
    second = athena.results(query_id, MaxResults=4, NextToken=first["NextToken"])

    assert rows(first) + rows(second) == [["n"], ["1"], ["2"], ["3"], ["4"], ["5"]]
    assert "NextToken" not in second


@pytest.mark.parametrize(
    ("sql", "code"),
    [("SELECT CAST('x' AS integer)", "INVALID_QUERY_EXECUTION_STATE"), (None, "QUERY_EXECUTION_NOT_FOUND")],
)
def test_a_query_without_results_has_athenas_code(athena: Athena, sql: str | None, code: str) -> None:
    query_id = athena.run(sql)["QueryExecutionId"] if sql else "00000000-0000-0000-0000-000000000000"

    with pytest.raises(athena.athena.exceptions.InvalidRequestException) as refused:
        athena.results(query_id)

    assert refused.value.response["AthenaErrorCode"] == code
