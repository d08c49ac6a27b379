"""Workgroups, data catalogs and the metadata of tables."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.athena import in_process
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


@pytest.mark.usefixtures("athena")
def test_the_primary_workgroup_exists_before_the_first_request(loop: in_process.Loop) -> None:
    client: Any = in_process.session(loop).client("athena", region_name="us-west-2")
    location = {"OutputLocation": f"s3://{BUCKET}/primary/"}

    started = client.start_query_execution(QueryString="SELECT 1", ResultConfiguration=location)

    query = client.get_query_execution(QueryExecutionId=started["QueryExecutionId"])
    assert query["QueryExecution"]["WorkGroup"] == "primary"


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


def test_the_metadata_of_a_table_has_its_location_and_format(athena: Athena) -> None:
    athena.run(
        "CREATE EXTERNAL TABLE formatted (n int) ROW FORMAT DELIMITED FIELDS TERMINATED BY ',' "
        f"LOCATION 's3://{BUCKET}/formatted/' TBLPROPERTIES ('owner'='team')"
    )

    parameters = athena.athena.get_table_metadata(
        CatalogName="AwsDataCatalog", DatabaseName=DATABASE, TableName="Formatted"
    )["TableMetadata"]["Parameters"]

    assert parameters["location"] == f"s3://{BUCKET}/formatted"
    assert parameters["owner"] == "team"
    assert parameters["inputformat"] == "org.apache.hadoop.mapred.TextInputFormat"
    assert parameters["serde.serialization.lib"].endswith("LazySimpleSerDe")
    assert parameters["serde.param.field.delim"] == ","


def test_the_metadata_of_tables_is_listed_in_pages_and_by_name(athena: Athena) -> None:
    athena.run("CREATE DATABASE paged")
    for number in range(3):
        athena.run(f"CREATE TABLE paged.t{number} AS SELECT 1 AS n")

    def listed(**request: str) -> list[list[str]]:
        pages = athena.athena.get_paginator("list_table_metadata").paginate(
            CatalogName="AwsDataCatalog", DatabaseName="paged", PaginationConfig={"PageSize": 2}, **request
        )
        return [[table["Name"] for table in page["TableMetadataList"]] for page in pages]

    assert listed() == [["t0", "t1"], ["t2"]]
    assert listed(Expression="t[12]") == [["t1", "t2"]]


def test_a_missing_table_or_database_has_no_metadata(athena: Athena) -> None:
    place = {"CatalogName": "AwsDataCatalog", "DatabaseName": DATABASE}
    with pytest.raises(ClientError, match="Error Code: EntityNotFoundException") as refused:
        athena.athena.get_table_metadata(**place, TableName="missing")
    assert refused.value.response["Error"]["Code"] == "MetadataException"
    with pytest.raises(ClientError, match="Error Code: EntityNotFoundException"):
        athena.athena.list_table_metadata(**place | {"DatabaseName": "missing"})
