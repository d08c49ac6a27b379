"""Data access of queries: the databases and S3 prefixes in the settings, and nothing else."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam

from infra.parsers import Prefix
from infra.permissions import grant
from infra.settings import Settings

# The Glue actions of Athena's statements (Athena user guide, "Configure access to databases and tables in the
# AWS Glue Data Catalog"). Partitions have no ARN: their actions need table, database and catalog.
_READ_TABLES = (
    *("glue:GetTable", "glue:GetTables"),
    *("glue:GetPartition", "glue:GetPartitions", "glue:BatchGetPartition"),
)
_WRITE_TABLES = (
    *("glue:CreateTable", "glue:UpdateTable", "glue:DeleteTable"),
    *(
        "glue:CreatePartition",
        "glue:BatchCreatePartition",
        "glue:UpdatePartition",
        "glue:BatchUpdatePartition",
    ),
    *("glue:DeletePartition", "glue:BatchDeletePartition"),
)
# Iceberg tables delete objects, and so does a failed CREATE TABLE AS SELECT.
_WRITE_OBJECTS = ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")


def grant_databases(role: iam.Role, settings: Settings) -> None:
    """Describe the databases, read their tables, and change the tables of the writable ones."""
    stack = Stack.of(role)
    catalog = stack.format_arn(service="glue", resource="catalog", arn_format=ArnFormat.NO_RESOURCE_NAME)

    def databases(names: Iterable[str]) -> list[str]:
        return [stack.format_arn(service="glue", resource="database", resource_name=name) for name in names]

    def tables(names: Iterable[str]) -> list[str]:
        return [
            stack.format_arn(service="glue", resource="table", resource_name=f"{name}/*") for name in names
        ]

    writable = settings.write_databases
    readable = sorted({*settings.read_databases, *writable})
    # Athena describes the query's database and "default" for every query, and DDL lists databases
    # (https://github.com/awsdocs/amazon-athena-user-guide/issues/81). This does not grant their tables.
    known = sorted({"default", settings.default_database, *readable})
    grant(
        role,
        "DescribeDatabases",
        actions=["glue:GetDatabase", "glue:GetDatabases"],
        resources=[catalog, *databases(known)],
    )
    for sid, names, actions in (
        ("ReadTables", readable, _READ_TABLES),
        ("WriteTables", writable, _WRITE_TABLES),
    ):
        if names:
            grant(
                role,
                sid,
                actions=actions,
                resources=[catalog, *databases(names), *tables(names)],
                wildcard_reason="The settings grant whole databases, whose tables change.",
            )


def grant_prefixes(role: iam.Role, settings: Settings) -> None:
    """Read objects under the prefixes, and write under the writable ones."""
    partition = Stack.of(role).partition
    writable = settings.write_prefixes
    for number, (bucket, keys) in enumerate(_by_bucket([*settings.read_prefixes, *writable])):
        arn = f"arn:{partition}:s3:::{bucket}"
        grant(role, f"LocateData{number}", actions=["s3:GetBucketLocation"], resources=[arn])
        grant(
            role,
            f"ListData{number}",
            actions=["s3:ListBucket"],
            resources=[arn],
            conditions={"StringLike": {"s3:prefix": [f"{key}*" for key in keys]}},
        )
        grant(
            role,
            f"ReadData{number}",
            actions=["s3:GetObject"],
            resources=[f"{arn}/{key}*" for key in keys],
            wildcard_reason="The settings grant whole prefixes, whose objects change.",
        )
    for number, (bucket, keys) in enumerate(_by_bucket(writable)):
        arn = f"arn:{partition}:s3:::{bucket}"
        # This action supports no condition on the prefix.
        grant(role, f"ListUploads{number}", actions=["s3:ListBucketMultipartUploads"], resources=[arn])
        grant(
            role,
            f"WriteData{number}",
            actions=_WRITE_OBJECTS,
            resources=[f"{arn}/{key}*" for key in keys],
            wildcard_reason="The settings grant whole prefixes, whose objects change.",
        )


def _by_bucket(prefixes: Iterable[Prefix]) -> Iterator[tuple[str, list[str]]]:
    for bucket, group in groupby(sorted(set(prefixes)), key=lambda prefix: prefix.bucket):
        yield bucket, [prefix.key for prefix in group]
