"""What the local Athena takes, refuses and translates."""

import duckdb
import pytest

from local.emulator.athena import dialect


@pytest.mark.parametrize(
    ("sql", "kind", "statement_type"),
    [
        ("SELECT 1;", "SELECT", "DML"),
        ("-- a comment\n WITH a AS (SELECT 1 AS x) SELECT * FROM a", "SELECT", "DML"),
        ("INSERT INTO t SELECT 1", "INSERT", "DML"),
        ("CREATE TABLE t WITH (format = 'PARQUET') AS SELECT 1 AS x", "CREATE_TABLE_AS_SELECT", "DML"),
        ("CREATE EXTERNAL TABLE t (a int) LOCATION 's3://b/t/'", "CREATE_TABLE", "DDL"),
        ("DROP TABLE IF EXISTS t", "DROP_TABLE", "DDL"),
        ("UNLOAD (SELECT 1) TO 's3://b/t/' WITH (format = 'PARQUET')", "UNLOAD", "DML"),
        ("SHOW TABLES", "SHOW", "UTILITY"),
        ("EXPLAIN SELECT 1", "EXPLAIN", "UTILITY"),
    ],
)
def test_statements_are_classified_as_athena_does(sql: str, kind: str, statement_type: str) -> None:
    statement = dialect.parse(sql)

    assert (statement.kind, statement.type) == (kind, statement_type)


@pytest.mark.parametrize("sql", ["", " ; ", "SELEKT 1", "SELECT 1; SELECT 2", "SELECT FROM WHERE", "foo bar"])
def test_what_is_not_one_statement_is_refused(sql: str) -> None:
    with pytest.raises(dialect.Refused):
        dialect.parse(sql)


def test_parameters_take_their_places_in_the_order_of_the_text() -> None:
    statement = dialect.parse("SELECT ? AS a, (SELECT ? AS b) AS b, ? AS c")

    bound = dialect.bind(statement, ["'it''s'", "2.5", "DATE '2013-01-01'"])

    assert bound.tree is not None
    with duckdb.connect() as db:
        row = db.execute(f"SELECT a || '', b * 2, year(c) FROM ({dialect.to_duckdb(bound.tree)})").fetchone()
    assert row == ("it's", 5, 2013)


@pytest.mark.parametrize("parameters", [[], ["1", "2"]])
def test_the_number_of_parameters_has_to_fit(parameters: list[str]) -> None:
    with pytest.raises(dialect.Refused, match="Incorrect number of parameters"):
        dialect.bind(dialect.parse("SELECT ?"), parameters)


@pytest.mark.parametrize(
    ("athena", "value"),
    [
        ("date_diff('day', DATE '2013-01-01', DATE '2013-01-31')", 30),
        ("cardinality(split('a,b,c', ','))", 3),
        ("json_extract_scalar('{\"a\": {\"b\": 7}}', '$.a.b')", "7"),
        ("regexp_like('flight 42', '[0-9]+')", True),
        ("element_at(map(ARRAY['a', 'b'], ARRAY[1, 2]), 'b')", 2),
        ("date_format(TIMESTAMP '2013-01-02 03:04:05', '%Y-%m-%d')", "2013-01-02"),
        ("approx_distinct(1)", 1),
    ],
)
def test_athenas_functions_mean_the_same_on_duckdb(athena: str, value: object) -> None:
    tree = dialect.parse(f"SELECT {athena}").tree

    assert tree is not None
    with duckdb.connect() as db:
        assert db.execute(dialect.to_duckdb(tree)).fetchone() == (value,)


def test_common_table_expressions_are_no_tables_of_the_catalog() -> None:
    tree = dialect.parse(
        "WITH a AS (SELECT * FROM x.t) SELECT * FROM a, b JOIN awsdatacatalog.x.c ON 1 = 1"
    ).tree

    assert tree is not None
    assert {(table.db, table.name) for table in dialect.tables(tree)} == {("x", "t"), ("", "b"), ("x", "c")}
