"""What queries may reach: the databases and S3 prefixes of the settings, and nothing else."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam

from infra.permissions import allow
from infra.settings import Prefix, Settings

# What Athena's statements need of Glue (Athena user guide, "Configure access to databases and tables in the
# AWS Glue Data Catalog"). Partitions are no resources of their own: they go with table, database and catalog.
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
# Iceberg tables, and CREATE TABLE AS SELECT that fails, delete what they wrote.
_WRITE_OBJECTS = ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")


def allow_databases(role: iam.Role, settings: Settings) -> None:
    """Describe the databases, read their tables, and change the tables of those for writing."""
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
    # Athena asks for the query's own database, and for "default", whatever the query reads, and DDL lists
    # databases (https://github.com/awsdocs/amazon-athena-user-guide/issues/81): described here, not read.
    known = sorted({"default", settings.default_database, *readable})
    allow(
        role,
        "FindDatabases",
        actions=["glue:GetDatabase", "glue:GetDatabases"],
        on=[catalog, *databases(known)],
    )
    for sid, names, actions in (
        ("ReadTables", readable, _READ_TABLES),
        ("WriteTables", writable, _WRITE_TABLES),
    ):
        if names:
            allow(
                role,
                sid,
                actions=actions,
                on=[catalog, *databases(names), *tables(names)],
                wildcards="The settings grant whole databases; tables come and go.",
            )


def allow_prefixes(role: iam.Role, settings: Settings) -> None:
    """Read the objects under the prefixes, and write under those for writing."""
    partition = Stack.of(role).partition
    writable = settings.write_prefixes
    for number, (bucket, keys) in enumerate(_by_bucket([*settings.read_prefixes, *writable])):
        arn = f"arn:{partition}:s3:::{bucket}"
        allow(role, f"LocateData{number}", actions=["s3:GetBucketLocation"], on=[arn])
        allow(
            role,
            f"ListData{number}",
            actions=["s3:ListBucket"],
            on=[arn],
            when={"StringLike": {"s3:prefix": [f"{key}*" for key in keys]}},
        )
        allow(
            role,
            f"ReadData{number}",
            actions=["s3:GetObject"],
            on=[f"{arn}/{key}*" for key in keys],
            wildcards="The settings grant whole prefixes; objects come and go.",
        )
    for number, (bucket, keys) in enumerate(_by_bucket(writable)):
        arn = f"arn:{partition}:s3:::{bucket}"
        # This action knows no condition on the prefix.
        allow(role, f"FindUploads{number}", actions=["s3:ListBucketMultipartUploads"], on=[arn])
        allow(
            role,
            f"WriteData{number}",
            actions=_WRITE_OBJECTS,
            on=[f"{arn}/{key}*" for key in keys],
            wildcards="The settings grant whole prefixes; objects come and go.",
        )


def _by_bucket(prefixes: Iterable[Prefix]) -> Iterator[tuple[str, list[str]]]:
    for bucket, group in groupby(sorted(set(prefixes)), key=lambda prefix: prefix.bucket):
        yield bucket, [prefix.key for prefix in group]
