"""Data access of queries: the databases, tables and S3 prefixes in the settings, and nothing else."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam

from infra.managed_policies import POLICIES_PER_ROLE, Statement, TooManyPoliciesError, attach
from infra.parsers import Prefix, Table
from infra.settings import SettingError, Settings, camel_case

# The Glue actions of Athena's statements (Athena user guide, "Configure access to databases and tables in the
# AWS Glue Data Catalog"). Partitions have no ARN: their actions need table, database and catalog.
_READ = (
    *("glue:GetDatabase", "glue:GetTable", "glue:GetTables"),
    *("glue:GetPartition", "glue:GetPartitions", "glue:BatchGetPartition"),
)
_WRITE = (
    *("glue:CreateTable", "glue:UpdateTable", "glue:DeleteTable"),
    *("glue:CreatePartition", "glue:BatchCreatePartition"),
    *("glue:UpdatePartition", "glue:BatchUpdatePartition"),
    *("glue:DeletePartition", "glue:BatchDeletePartition"),
)
_WRITE_DATABASE = ("glue:CreateDatabase", "glue:UpdateDatabase", "glue:DeleteDatabase")
# Iceberg tables delete objects, and so does a failed CREATE TABLE AS SELECT.
_WRITE_OBJECTS = ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")

_TABLES_CHANGE = "The settings grant whole databases, whose tables change."
_OBJECTS_CHANGE = "The settings grant whole prefixes, whose objects change."

_SETTINGS = (
    *("read_databases", "write_databases", "read_tables", "write_tables"),
    *("read_prefixes", "write_prefixes", "connector_functions", "spill_prefixes", "data_key_arns"),
)


def grant_data_access(role: iam.Role, settings: Settings) -> None:
    """Raise SettingError if the settings grant more than the policies of a role can hold."""
    try:
        attach(
            role,
            [
                *_glue(Stack.of(role), settings),
                *_s3(Stack.of(role).partition, settings),
                *_keys_of_data(settings),
                *_other(settings),
            ],
            settings,
        )
    except TooManyPoliciesError as error:
        counts = {name: len(getattr(settings, name)) for name in _SETTINGS}
        named = ", ".join(f"{camel_case(name)} ({count})" for name, count in counts.items() if count)
        raise SettingError(
            f"settings {named} need {error.needed} managed policies and a role holds {POLICIES_PER_ROLE}; "
            "name fewer databases, tables and prefixes, or several stacks"
        ) from None


def _glue(stack: Stack, settings: Settings) -> Iterator[Statement]:
    def arns(resource: str, names: Iterable[str]) -> list[str]:
        return [stack.format_arn(service="glue", resource=resource, resource_name=name) for name in names]

    def whole(databases: Iterable[str]) -> list[str]:
        return [
            *arns("database", databases),
            *arns("table", [f"{database}/*" for database in databases]),
        ]

    def single(tables: Iterable[Table]) -> list[str]:
        return [
            *arns("database", sorted({table.database for table in tables})),
            *arns("table", [f"{table.database}/{table.name}" for table in tables]),
        ]

    catalog = stack.format_arn(service="glue", resource="catalog", arn_format=ArnFormat.NO_RESOURCE_NAME)
    writable = settings.write_databases
    actions = {
        *("glue:GetDatabase", "glue:GetDatabases"),
        *(_READ if any(getattr(settings, name) for name in _SETTINGS[:4]) else ()),
        *(_WRITE if writable or settings.write_tables else ()),
        *(_WRITE_DATABASE if writable else ()),
    }
    yield Statement(sid="Catalog", actions=sorted(actions), resources=[catalog])
    # Athena describes the query's database and "default" for every query
    # (https://github.com/awsdocs/amazon-athena-user-guide/issues/81). This does not grant their tables.
    yield Statement(
        sid="DescribeDatabases",
        actions=["glue:GetDatabase"],
        resources=arns("database", sorted({"default", settings.default_database})),
    )
    yield Statement(
        sid="ListDatabases",
        actions=["glue:GetDatabases"],
        resources=arns("database", ["*"]),
        wildcard_reason="SHOW DATABASES lists every database of the catalog (Athena user guide).",
    )
    readable = sorted({*settings.read_databases} - {*writable})
    if readable or settings.read_tables:
        yield Statement(
            sid="ReadTables",
            actions=_READ,
            resources=[*whole(readable), *single(settings.read_tables)],
            wildcard_reason=_TABLES_CHANGE,
        )
    if settings.write_tables:
        yield Statement(sid="WriteTables", actions=[*_READ, *_WRITE], resources=single(settings.write_tables))
    if writable:
        yield Statement(
            sid="WriteDatabases",
            actions=[*_READ, *_WRITE, *_WRITE_DATABASE],
            resources=whole(writable),
            wildcard_reason=_TABLES_CHANGE,
        )
        # DROP DATABASE is checked against the database, its tables and its functions. The functions grant
        # nothing without their database, and naming those of each would take many characters.
        yield Statement(
            sid="DropFunctions",
            actions=["glue:DeleteDatabase"],
            resources=arns("userDefinedFunction", ["*"]),
            wildcard_reason="WriteDatabases names the databases that can be dropped.",
        )


def _s3(partition: str, settings: Settings) -> Iterator[Statement]:
    # Connector functions write to the spill location, and so does Athena (Athena user guide, "Allow access to
    # Athena Federated Query").
    writable = sorted({*settings.write_prefixes, *settings.spill_prefixes})
    readable = sorted({*settings.read_prefixes} - {*writable})
    prefixes = sorted({*readable, *writable})
    if not prefixes:
        return

    def buckets(ones: Iterable[Prefix]) -> list[str]:
        return [f"arn:{partition}:s3:::{bucket}" for bucket in sorted({one.bucket for one in ones})]

    def objects(ones: Iterable[Prefix]) -> list[str]:
        return [f"arn:{partition}:s3:::{one.bucket}/{key}" for one in ones for key in _keys(one)]

    yield Statement(sid="LocateData", actions=["s3:GetBucketLocation"], resources=buckets(prefixes))
    for number, (bucket, group) in enumerate(groupby(prefixes, key=lambda one: one.bucket)):
        yield Statement(
            sid=f"List{number}Data",
            actions=["s3:ListBucket"],
            resources=[f"arn:{partition}:s3:::{bucket}"],
            prefixes=[key for one in group for key in _keys(one)],
        )
    if readable:
        yield Statement(
            sid="ReadData",
            actions=["s3:GetObject"],
            resources=objects(readable),
            wildcard_reason=_OBJECTS_CHANGE,
        )
    if writable:
        # This action supports no condition on the prefix.
        yield Statement(
            sid="ListUploads", actions=["s3:ListBucketMultipartUploads"], resources=buckets(writable)
        )
        yield Statement(
            sid="WriteData",
            actions=["s3:GetObject", *_WRITE_OBJECTS],
            resources=objects(writable),
            wildcard_reason=_OBJECTS_CHANGE,
        )


def _keys_of_data(settings: Settings) -> Iterator[Statement]:
    """S3 and Glue use keys with the permissions of the role (Athena user guide, "Encryption at rest")."""
    if settings.data_key_arns:
        writes = settings.write_prefixes or settings.spill_prefixes
        yield Statement(
            sid="UseDataKeys",
            actions=["kms:Decrypt", *(["kms:GenerateDataKey"] if writes else [])],
            resources=settings.data_key_arns,
        )
    if settings.catalog_key_arn:
        yield Statement(
            sid="UseCatalogKey",
            actions=["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"],
            resources=[settings.catalog_key_arn],
        )


def _other(settings: Settings) -> Iterator[Statement]:
    if settings.connector_functions:
        yield Statement(
            sid="InvokeConnectors",
            actions=["lambda:InvokeFunction"],
            resources=settings.connector_functions,
        )
    if settings.lake_formation:
        yield Statement(
            sid="LakeFormation",
            actions=["lakeformation:GetDataAccess"],
            resources=["*"],
            wildcard_reason="The action has no resource types; Lake Formation's grants name the data.",
        )


def _keys(prefix: Prefix) -> list[str]:
    """Everything below the prefix, and the prefix without its slash: a table's location may be written so."""
    return [f"{prefix.key}*", *([prefix.key.removesuffix("/")] if prefix.key else [])]
