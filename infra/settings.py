"""The stack's settings: CDK context, read and checked once, before anything is built.

`cdk deploy -c patienceSeconds=120`, or the `context` of cdk.json, sets one; its name is the field's in
camelCase.
"""

import difflib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from infra import parsers
from infra.parsers import Parser, Prefix, Table

# The retention periods that CloudWatch Logs accepts (API reference, PutRetentionPolicy).
_LOG_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)

# IAM user guide, "IAM and AWS STS quotas".
_ROLE_NAME_CHARACTERS = 64

# The state machine of a stack's batches is named after the stack.
_BATCH = "-batch"

# CDK has context keys of its own. Their names contain other characters; ours are plain camelCase.
_OURS = re.compile(r"[A-Za-z0-9_]+")


class SettingError(Exception):
    """A setting that cannot be used. Its text is one line: the name, the value, what is allowed."""


def _setting(default: Any, parse: Parser, description: str) -> Any:
    """`description` goes into docs/settings.md (tools/generate_docs.py)."""
    return field(default=default, metadata={"parse": parse, "description": description})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Names give the unit: days, seconds or bytes. Money is in USD."""

    stack_name: str = _setting(
        "AthenaQueries",
        parsers.text(r"[A-Za-z][A-Za-z0-9-]{0,49}", "up to 50 letters, digits and -, a letter first"),
        "Name of the stack, its workgroup and its state machine; one account may hold several stacks.",
    )
    stage: str = _setting(
        "", parsers.stage, "Appended to the stack's name, so that an account may hold several stages of it."
    )
    read_databases: tuple[str, ...] = _setting(
        (), parsers.list_of(parsers.database), "Glue databases that queries may read, comma-separated."
    )
    write_databases: tuple[str, ...] = _setting(
        (), parsers.list_of(parsers.database), "Glue databases that queries may read, write, create and drop."
    )
    read_tables: tuple[Table, ...] = _setting(
        (), parsers.list_of(parsers.table), "Single Glue tables (`database.table`) that queries may read."
    )
    write_tables: tuple[Table, ...] = _setting(
        (), parsers.list_of(parsers.table), "Single Glue tables that queries may read and write."
    )
    read_prefixes: tuple[Prefix, ...] = _setting(
        (), parsers.list_of(parsers.prefix), "S3 prefixes (`bucket/prefix/`) that queries may read."
    )
    write_prefixes: tuple[Prefix, ...] = _setting(
        (), parsers.list_of(parsers.prefix), "S3 prefixes that queries may read and write."
    )
    lake_formation: bool = _setting(
        default=False,
        parse=parsers.boolean,
        description="Whether Lake Formation governs the data. It must then grant the executor's role access.",
    )
    federated_catalogs: tuple[str, ...] = _setting(
        (), parsers.list_of(parsers.catalog), "Data catalogs other than Glue that queries may use."
    )
    connector_functions: tuple[str, ...] = _setting(
        (),
        parsers.list_of(parsers.function_arn),
        "ARNs of the Lambda functions that connect the federated catalogs.",
    )
    spill_prefixes: tuple[Prefix, ...] = _setting(
        (), parsers.list_of(parsers.prefix), "S3 prefixes to which the connector functions spill."
    )
    data_key_arns: tuple[str, ...] = _setting(
        (), parsers.list_of(parsers.key_arn), "KMS keys that encrypt the data below these prefixes."
    )
    catalog_key_arn: str = _setting(
        "", parsers.optional(parsers.key_arn), "KMS key that encrypts the Glue Data Catalog."
    )
    default_database: str = _setting(
        "default", parsers.database, "Database of a query whose input names none."
    )
    default_catalog: str = _setting(
        "AwsDataCatalog",
        parsers.catalog,
        "Data catalog of a query whose input names none.",
    )
    # Athena's own minimum is 10 MB (API reference, WorkGroupConfiguration).
    bytes_scanned_limit: int = _setting(
        1024**4,
        parsers.whole_number(10_000_000, 10**17),
        "Bytes after which Athena stops a query (the default is 1 TiB).",
    )
    patience_seconds: int = _setting(
        300,
        parsers.whole_number(1, 86_400),
        'How long "Start query" waits for the completion event before the state machine starts to poll.',
    )
    poll_seconds: int = _setting(30, parsers.whole_number(1, 3_600), "Shortest interval between polls.")
    # A smaller share could reach Step Functions' limit of 25,000 history events within two days.
    poll_growth: float = _setting(
        0.1, parsers.number(0.05, 1), "The interval between polls grows to this share of the query's age."
    )
    sweep_minutes: int = _setting(
        5,
        parsers.whole_number(1, 60),
        "Interval of the sweep, which stops queries of ended executions and measures stuck executions.",
    )
    max_attempts: int = _setting(
        2,
        parsers.whole_number(1, 10),
        "How many times a statement may run when it fails with a transient error. An input can override it.",
    )
    back_off_seconds: int = _setting(
        10,
        parsers.whole_number(1, 3_600),
        "Delay before the first retry of a statement; doubled for each further one.",
    )
    # Used only to estimate a query's cost.
    usd_per_terabyte: float = _setting(
        5.0,
        parsers.number(0, 1_000),
        "Athena's price per terabyte in your Region, for the cost estimate of a query.",
    )
    # Athena's smallest default quota of active queries is 20 (Athena user guide, "Service quotas").
    batch_concurrency: int = _setting(
        15,
        parsers.whole_number(1, 1_000),
        "How many queries of a batch run at once. Keep it below your quota of active queries.",
    )
    batches_prefix: str = _setting(
        "batches/",
        parsers.key_prefix,
        "Where in the results bucket batches are read and their manifests stored.",
    )
    work_group: str = _setting(
        "",
        parsers.optional(parsers.work_group),
        "Your own Athena workgroup, with a result location, instead of the stack's.",
    )
    results_bucket: str = _setting(
        "",
        parsers.optional(parsers.bucket),
        "Your own S3 bucket for query results, in the stack's account, instead of the stack's.",
    )
    results_prefix: str = _setting(
        "results/", parsers.key_prefix, "Where in the bucket the results are stored."
    )
    managed_results: bool = _setting(
        default=False,
        parse=parsers.boolean,
        description="Whether Athena stores the results itself, for 24 hours, instead of in a bucket.",
    )
    results_retention_days: int = _setting(30, parsers.whole_number(1, 3_650), "Days to keep query results.")
    log_retention_days: int = _setting(30, parsers.one_of(*_LOG_RETENTION_DAYS), "Days to keep logs.")
    # An item must outlive its execution, which may last two days and be redriven for 14 more.
    task_ttl_days: int = _setting(
        30, parsers.whole_number(17, 365), "Days that the task table keeps the record of a query."
    )
    alarm_topic_arn: str = _setting(
        "",
        parsers.optional(parsers.topic_arn),
        "SNS topic that alarms notify.",
    )
    runbook_url: str = _setting(
        "docs/runbook.md",
        parsers.text(r"[\w./:@%?=&~-]{1,500}", "a URL or a path, without # and spaces"),
        "URL of your copy of `docs/runbook.md`, for the links in alarm descriptions.",
    )
    results_key_arn: str = _setting(
        "", parsers.optional(parsers.key_arn), "KMS key for query results, instead of S3's or Athena's own."
    )
    table_key_arn: str = _setting(
        "",
        parsers.optional(parsers.key_arn),
        "KMS key for the task table, instead of the key `aws/dynamodb`.",
    )
    queue_key_arn: str = _setting(
        "", parsers.optional(parsers.key_arn), "KMS key for the dead-letter queue, instead of SQS's own."
    )
    logs_key_arn: str = _setting(
        "",
        parsers.optional(parsers.key_arn),
        "KMS key for the logs, instead of CloudWatch's own. Its policy must admit CloudWatch Logs.",
    )
    vpc_subnet_ids: tuple[str, ...] = _setting(
        (),
        parsers.list_of(parsers.subnet),
        "Subnets for the functions. They need routes to Athena, DynamoDB, S3 and Step Functions.",
    )
    vpc_security_group_ids: tuple[str, ...] = _setting(
        (), parsers.list_of(parsers.security_group), "Security groups for the functions in a VPC."
    )
    permissions_boundary_arn: str = _setting(
        "", parsers.optional(parsers.policy_arn), "Permissions boundary of every role."
    )
    role_path: str = _setting("/", parsers.role_path, "IAM path of roles and managed policies.")
    role_name_prefix: str = _setting(
        "",
        parsers.role_name_prefix,
        "Prefix of the names of roles and managed policies, which CloudFormation generates otherwise. These "
        "names are unique in an account, so each Region needs a prefix or stage of its own.",
    )
    removal_policy: str = _setting(
        "destroy",
        parsers.one_of("destroy", "retain"),
        "`retain` keeps table, queue and logs when the stack is deleted. The results bucket stays anyway.",
    )
    tags: tuple[tuple[str, str], ...] = _setting(
        (), parsers.tags, "Tags of every resource, as `KEY=VALUE,KEY=VALUE` or a JSON object."
    )
    synthesizer: str = _setting(
        "default",
        parsers.one_of("default", "cli-credentials"),
        "`cli-credentials` deploys with your own credentials, not with the roles of `cdk bootstrap`.",
    )

    @property
    def batch_name(self) -> str:
        """The name of the state machine that runs batches."""
        return self.stack_name + _BATCH

    def role_name(self, name: str) -> str | None:
        """The name of a role or managed policy; None leaves it to CloudFormation."""
        return f"{self.role_name_prefix}{self.stack_name}-{name}" if self.role_name_prefix else None

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> "Settings":
        """Raise SettingError for an unknown name and for a value that is not allowed."""
        known = {camel_case(one.name): one for one in fields(cls)}
        chosen = {}
        for name, value in context.items():
            if not _OURS.fullmatch(name):
                continue
            if name not in known:
                raise SettingError(_unknown(name, value, list(known)))
            try:
                chosen[known[name].name] = known[name].metadata["parse"](value)
            except ValueError as allowed:
                raise SettingError(f"setting {name} is {json.dumps(value)}; it must be {allowed}") from None
        settings = cls(**chosen)
        if settings.stage:
            settings = replace(settings, stack_name=f"{settings.stack_name}-{settings.stage}")
        _check(settings, chosen)
        return settings


def camel_case(name: str) -> str:
    """The name of a field in the CDK context."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _check(settings: Settings, chosen: Collection[str]) -> None:
    """Raise SettingError for settings that contradict each other. `chosen` are those that were given."""
    if settings.stack_name.endswith(_BATCH):
        raise SettingError(
            f"settings stackName and stage make the name {settings.stack_name}, which is that of the batches "
            f"of a stack {settings.stack_name.removesuffix(_BATCH)}; use another"
        )
    if settings.managed_results and settings.results_bucket:
        raise SettingError("settings managedResults and resultsBucket exclude each other")
    if settings.work_group and not (settings.managed_results or settings.results_bucket):
        raise SettingError(
            "setting workGroup needs resultsBucket and resultsPrefix, its result location, or managedResults"
        )
    prefixes = sorted((settings.batches_prefix, settings.results_prefix))
    if prefixes[1].startswith(prefixes[0]):
        # Queries may write below the one, and the results of Athena are expected there.
        raise SettingError("settings batchesPrefix and resultsPrefix must not contain each other")
    if bool(settings.vpc_subnet_ids) != bool(settings.vpc_security_group_ids):
        raise SettingError("settings vpcSubnetIds and vpcSecurityGroupIds need each other")
    longest = settings.role_name("BatchStateMachine")
    if longest and len(longest) > _ROLE_NAME_CHARACTERS:
        raise SettingError(
            f"settings roleNamePrefix, stackName and stage make the role name {longest}; "
            f"IAM allows {_ROLE_NAME_CHARACTERS} characters"
        )
    without_effect = (
        ("bytes_scanned_limit", "work_group"),
        ("results_retention_days", "results_bucket"),
        ("results_retention_days", "managed_results"),
        ("results_prefix", "managed_results"),
        ("batches_prefix", "managed_results"),
        ("batch_concurrency", "managed_results"),
    )
    for name, other in without_effect:
        if name in chosen and getattr(settings, other):
            raise SettingError(
                f"setting {camel_case(name)} has no effect together with {camel_case(other)}; remove it"
            )


def _unknown(name: str, value: Any, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    allowed = f"did you mean {near[0]}?" if near else "the settings are " + ", ".join(sorted(names))
    return f"unknown setting {name} (value {json.dumps(value)}); {allowed}"
