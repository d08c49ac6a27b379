"""The Glue operations that dbt calls and MiniStack lacks."""

import pytest

from local.emulator import glue_operations
from tests.athena.conftest import DATABASE, Athena


@pytest.fixture(autouse=True)
def installed() -> None:
    glue_operations.install()


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


def test_a_context_database_in_backticks_is_the_same_database(athena: Athena) -> None:
    athena.run("CREATE TABLE quoted_context AS SELECT 1 AS x")

    rows = athena.rows("DESCRIBE `quoted_context`", context={"Database": f"`{DATABASE}`"})

    assert rows == [["x" + " " * 19 + "\tint" + " " * 17 + "\t" + " " * 20]]
