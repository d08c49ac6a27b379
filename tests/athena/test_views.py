"""Views, and the other relations that are not tables."""

import pytest

from tests.athena.conftest import BUCKET, DATABASE, Athena


def test_a_view_is_created_replaced_shown_and_dropped(athena: Athena) -> None:
    athena.run("CREATE TABLE base AS SELECT 1 AS n, 'a' AS s")

    created = athena.run("CREATE VIEW seen AS SELECT n + 1 AS m, s FROM base")

    assert (created["SubstatementType"], created["StatementType"]) == ("CREATE_VIEW", "DDL")
    assert athena.rows("SELECT * FROM seen") == [["m", "s"], ["2", "a"]]
    assert athena.rows("DESCRIBE seen") == [["m\tinteger"], ["s\tvarchar(1)"]]
    assert athena.run("SHOW COLUMNS FROM seen")["SubstatementType"] == "DESC_VIEW"
    assert athena.rows("SHOW CREATE VIEW seen") == [
        [f"CREATE VIEW {DATABASE}.seen AS"],
        ["SELECT n + 1 AS m, s FROM base"],
    ]
    assert ["seen"] in athena.rows("SHOW VIEWS")
    assert athena.reason("CREATE VIEW seen AS SELECT 1 AS x").startswith("TABLE_ALREADY_EXISTS: ")
    athena.run("CREATE OR REPLACE VIEW seen AS SELECT 7 AS x")
    assert athena.rows("TABLE seen") == [["x"], ["7"]]
    athena.run("DROP VIEW seen")
    assert athena.reason("SELECT * FROM seen").startswith("TABLE_NOT_FOUND: ")


def test_a_view_reads_the_database_in_which_it_was_created(athena: Athena) -> None:
    athena.run("CREATE DATABASE viewing")
    athena.run("CREATE TABLE viewing.t AS SELECT 'viewing' AS place")
    athena.run("CREATE TABLE t AS SELECT 'elsewhere' AS place")
    athena.run("CREATE VIEW placed AS SELECT * FROM t", context={"Database": "viewing"})

    assert athena.rows("SELECT * FROM viewing.placed") == [["place"], ["viewing"]]


def test_a_view_is_described_to_glue_as_athena_does(athena: Athena) -> None:
    athena.run("CREATE VIEW glued AS SELECT 1 AS n, ARRAY['x'] AS a")

    table = athena.glue.get_table(DatabaseName=DATABASE, Name="glued")["Table"]

    assert table["TableType"] == "VIRTUAL_VIEW"
    assert table["ViewOriginalText"].startswith("/* Presto View: ")
    assert [(one["Name"], one["Type"]) for one in table["StorageDescriptor"]["Columns"]] == [
        ("n", "int"),
        ("a", "array<varchar(1)>"),
    ]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("CREATE VIEW v AS SELECT 1", "MISSING_COLUMN_NAME: "),
        ("CREATE VIEW v AS SELECT x FROM missing", "TABLE_NOT_FOUND: line 1:"),
        ("DROP VIEW missing", "TABLE_NOT_FOUND: "),
        ("SELECT * FROM recursion", "VIEW_IS_RECURSIVE: "),
    ],
)
def test_a_view_that_cannot_be_fails(athena: Athena, sql: str, reason: str) -> None:
    athena.run("CREATE OR REPLACE VIEW recursion AS SELECT 1 AS x")
    athena.run("CREATE OR REPLACE VIEW recursion AS SELECT * FROM recursion")

    assert athena.reason(sql).startswith(reason)


def test_a_path_is_that_of_the_object(athena: Athena) -> None:
    uri = athena.put("paths/rows.txt", "7\n")
    athena.run(f"CREATE EXTERNAL TABLE paths (n int) LOCATION 's3://{BUCKET}/paths/'")

    assert athena.rows('SELECT n, "$path" FROM paths') == [["n", "$path"], ["7", uri]]
    assert athena.rows("SELECT * FROM paths") == [["n"], ["7"]]


def test_partitions_are_a_table_too(athena: Athena) -> None:
    athena.run(
        "CREATE TABLE parted WITH (partitioned_by = ARRAY['year']) AS "
        "SELECT * FROM (VALUES (1, 2023), (2, 2024)) AS v(n, year)"
    )

    assert athena.rows('SELECT max(year) AS latest FROM "parted$partitions"') == [["latest"], ["2024"]]


def test_the_information_schema_lists_the_catalog(athena: Athena) -> None:
    athena.run("CREATE DATABASE listed")
    athena.run("CREATE TABLE listed.t WITH (partitioned_by = ARRAY['p']) AS SELECT 1 AS n, 'a' AS p")
    athena.run("CREATE VIEW listed.v AS SELECT 1 AS x")

    assert athena.rows(
        "SELECT table_name, table_type FROM information_schema.tables "
        "WHERE table_schema = 'listed' ORDER BY 1"
    ) == [["table_name", "table_type"], ["t", "BASE TABLE"], ["v", "VIEW"]]
    assert athena.rows(
        "SELECT column_name, data_type, extra_info FROM information_schema.columns "
        "WHERE table_schema = 'listed' AND table_name = 't' ORDER BY ordinal_position"
    ) == [
        ["column_name", "data_type", "extra_info"],
        ["n", "integer", None],
        ["p", "varchar(1)", "partition key"],
    ]
    assert ["listed"] in athena.rows("SELECT schema_name FROM information_schema.schemata")


def test_functions_are_listed_with_a_header_row(athena: Athena) -> None:
    rows = athena.rows("SHOW FUNCTIONS LIKE 'lower'")

    assert [row[0] for row in rows] == ["Function", "lower"]
