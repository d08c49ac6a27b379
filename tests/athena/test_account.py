"""Workgroups, data catalogs and the metadata of tables."""

import pytest
from botocore.exceptions import ClientError

from tests.athena.conftest import BUCKET, DATABASE, Athena


def test_the_primary_workgroup_leaves_the_settings_to_its_callers(athena: Athena) -> None:
    configuration = athena.athena.get_work_group(WorkGroup="primary")["WorkGroup"]["Configuration"]
    location = f"s3://{BUCKET}/primary/"

    query = athena.run("SELECT 1", WorkGroup="primary", ResultConfiguration={"OutputLocation": location})

    assert configuration["EnforceWorkGroupConfiguration"] is False
    assert configuration["ResultConfiguration"] == {}
    assert query["ResultConfiguration"]["OutputLocation"].startswith(location)
    table = f"CREATE TABLE placed WITH (external_location = 's3://{BUCKET}/placed/') AS SELECT 1 AS n"
    athena.run(table, WorkGroup="primary", ResultConfiguration={"OutputLocation": location})
    assert athena.rows("SELECT n FROM placed") == [["n"], ["1"]]


def test_a_workgroup_is_described_with_its_whole_configuration(athena: Athena) -> None:
    athena.work_group("described", BytesScannedCutoffPerQuery=10_000_000)

    configuration = athena.athena.get_work_group(WorkGroup="described")["WorkGroup"]["Configuration"]

    assert configuration["BytesScannedCutoffPerQuery"] == 10_000_000
    assert configuration["EnforceWorkGroupConfiguration"] is True
    assert configuration["EngineVersion"]["EffectiveEngineVersion"] == "Athena engine version 3"


@pytest.mark.parametrize("name", ["AwsDataCatalog", "awsdatacatalog"])
def test_the_default_catalog_is_known_in_any_case(athena: Athena, name: str) -> None:
    athena.run("CREATE TABLE listed AS SELECT 1 AS n")

    databases = athena.athena.list_databases(CatalogName=name)["DatabaseList"]
    table = athena.athena.get_table_metadata(CatalogName=name, DatabaseName=DATABASE, TableName="listed")

    assert DATABASE in [one["Name"] for one in databases]
    assert [one["Name"] for one in table["TableMetadata"]["Columns"]] == ["n"]


def test_a_missing_table_has_no_metadata(athena: Athena) -> None:
    with pytest.raises(ClientError, match="Table missing not found") as refused:
        athena.athena.get_table_metadata(
            CatalogName="AwsDataCatalog", DatabaseName=DATABASE, TableName="missing"
        )
    assert refused.value.response["Error"]["Code"] == "MetadataException"
