"""The Glue operations that dbt calls and MiniStack lacks or simplifies."""

import pytest

from tests.athena.conftest import DATABASE, Athena


def test_a_table_has_its_current_version(athena: Athena) -> None:
    athena.run("CREATE TABLE versioned AS SELECT 1 AS x")

    versions = athena.glue.get_table_versions(DatabaseName=DATABASE, TableName="versioned")["TableVersions"]

    assert [one["Table"]["Name"] for one in versions] == ["versioned"]
    with pytest.raises(athena.glue.exceptions.EntityNotFoundException):
        athena.glue.get_table_versions(DatabaseName=DATABASE, TableName="missing")


def test_partitions_are_deleted_in_a_batch(athena: Athena) -> None:
    athena.run(
        "CREATE TABLE batched WITH (partitioned_by = ARRAY['p']) AS "
        "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v(n, p)"
    )

    athena.glue.batch_delete_partition(
        DatabaseName=DATABASE, TableName="batched", PartitionsToDelete=[{"Values": ["a"]}]
    )

    assert athena.rows("SHOW PARTITIONS batched") == [["p=b"]]


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("day='2026-11-02' and n=10", [["2026-11-02", "10"]]),
        ("(day='2026-11-01' and n=9) or n=10", [["2026-11-01", "9"], ["2026-11-02", "10"]]),
        # Numbers compare as numbers.
        ("n > 8", [["2026-11-01", "9"], ["2026-11-02", "10"]]),
        ("day BETWEEN '2026-11-02' AND '2026-11-30'", [["2026-11-02", "10"], ["2026-11-03", "3"]]),
        ("n IN (7)", []),
    ],
)
def test_partitions_are_found_by_an_expression(
    athena: Athena, expression: str, found: list[list[str]]
) -> None:
    athena.run(
        "CREATE TABLE IF NOT EXISTS searched WITH (partitioned_by = ARRAY['day', 'n']) AS SELECT * FROM "
        "(VALUES (1, DATE '2026-11-01', 9), (2, DATE '2026-11-02', 10), (3, DATE '2026-11-03', 3)) "
        "AS v(x, day, n)"
    )

    answer = athena.glue.get_partitions(DatabaseName=DATABASE, TableName="searched", Expression=expression)

    assert sorted(one["Values"] for one in answer["Partitions"]) == found


def test_an_expression_over_another_column_is_refused(athena: Athena) -> None:
    athena.run(
        "CREATE TABLE unsearched WITH (partitioned_by = ARRAY['p']) AS "
        "SELECT * FROM (VALUES (1, 'a')) AS v(n, p)"
    )

    with pytest.raises(athena.glue.exceptions.InvalidInputException):
        athena.glue.get_partitions(DatabaseName=DATABASE, TableName="unsearched", Expression="other = 1")


def test_a_described_table_can_be_updated_with_its_description(athena: Athena) -> None:
    glue, place = athena.glue, {"DatabaseName": DATABASE}
    column = {"Name": "n", "Type": "int"}
    glue.create_table(**place, TableInput={"Name": "updated", "StorageDescriptor": {"Columns": [column]}})
    described = glue.get_table(**place, Name="updated")["Table"]
    known = {name: described[name] for name in ("Name", "StorageDescriptor", "PartitionKeys", "TableType")}
    optional = {name: described[name] for name in ("Owner", "Description") if name in described}

    glue.update_table(**place, TableInput={**known, **optional, "Parameters": {"owner": "team"}})

    assert glue.get_table(**place, Name="updated")["Table"]["Parameters"] == {"owner": "team"}


def test_tables_are_found_by_text(athena: Athena) -> None:
    athena.run("CREATE TABLE ledger AS SELECT 1 AS booking")

    for text in ("LEDG", "booking"):
        found = athena.glue.search_tables(SearchText=text)["TableList"]
        assert [table["Name"] for table in found] == ["ledger"]


def test_a_context_database_in_backticks_is_the_same_database(athena: Athena) -> None:
    athena.run("CREATE TABLE quoted_context AS SELECT 1 AS x")

    rows = athena.rows("DESCRIBE `quoted_context`", context={"Database": f"`{DATABASE}`"})

    assert rows == [["x" + " " * 19 + "\tint" + " " * 17 + "\t" + " " * 20]]
