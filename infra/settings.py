"""The stack's settings: CDK context, read and checked once, before anything is built.

`cdk deploy -c patienceSeconds=120`, or the `context` of cdk.json, sets one; its name is the field's in
camelCase.
"""

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

# The retention periods that CloudWatch Logs accepts (API reference, PutRetentionPolicy).
_LOG_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)

# CDK has context keys of its own. Their names contain other characters; ours are plain camelCase.
_OURS = re.compile(r"[A-Za-z0-9_]+")


class SettingError(Exception):
    """A setting that cannot be used. Its text is one line: the name, the value, what is allowed."""


@dataclass(frozen=True, order=True)
class Prefix:
    """The objects of `bucket` whose keys start with `key`: empty, or it ends with a slash."""

    bucket: str
    key: str


def _whole_number(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        # int() takes True, 1.5 and " 1_0 " too.
        if re.fullmatch(r"[0-9]{1,18}", str(value)) and low <= int(value) <= high:
            return int(value)
        raise ValueError(f"a whole number from {low} to {high}")

    return parse


def _one_of(*allowed: Any) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        for one in allowed:
            if str(value) == str(one):
                return one
        raise ValueError("one of " + ", ".join(map(str, allowed)))

    return parse


def _amount(low: float, high: float) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", str(value)) and low <= float(value) <= high:
            return float(value)
        raise ValueError(f"a number from {low:g} to {high:g}")

    return parse


def _text(pattern: str, allowed: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        raise ValueError(allowed)

    return parse


def _list_of(parse_one: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    """A JSON list, or comma-separated text, since the command line has no lists."""

    def parse(value: Any) -> tuple[Any, ...]:
        try:
            if isinstance(value, str):
                value = json.loads(value) if value.startswith("[") else value.split(",")
            if isinstance(value, list | tuple):
                return tuple(sorted({parse_one(str(one).strip()) for one in value if str(one).strip()}))
        except json.JSONDecodeError:
            pass
        except ValueError as allowed:
            raise ValueError(f"a list, each {allowed}") from None
        raise ValueError("a JSON list or comma-separated text")

    return parse


def _prefix(value: Any) -> Prefix:
    match = re.fullmatch(r"(?:s3://)?([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/((?:[^*?$/\s]+/)*)", value)
    if match is None:
        raise ValueError("an S3 prefix as bucket/prefix/ with the slash at its end, without * ? $ or spaces")
    return Prefix(bucket=match[1], key=match[2])


_database = _text(r"[a-z0-9_-]{1,255}", "a Glue database: lower-case letters, digits, _ or -")


def _setting(default: Any, parse: Callable[[Any], Any], description: str) -> Any:
    """`description` goes into the README's table of settings (tools/generate_docs.py)."""
    return field(default=default, metadata={"parse": parse, "description": description})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Days, seconds and bytes as the names say; money in USD."""

    stack_name: str = _setting(
        "AthenaQueries",
        _text(r"[A-Za-z][A-Za-z0-9-]{0,49}", "up to 50 letters, digits and -, a letter first"),
        "Name of the stack, its workgroup and its state machine; one account may hold several stacks.",
    )
    read_databases: tuple[str, ...] = _setting(
        (), _list_of(_database), "Glue databases that queries may read, comma-separated."
    )
    write_databases: tuple[str, ...] = _setting(
        (), _list_of(_database), "Glue databases that queries may read and write."
    )
    read_prefixes: tuple[Prefix, ...] = _setting(
        (), _list_of(_prefix), "S3 prefixes (`bucket/prefix/`) that queries may read."
    )
    write_prefixes: tuple[Prefix, ...] = _setting(
        (), _list_of(_prefix), "S3 prefixes that queries may read and write."
    )
    default_database: str = _setting("default", _database, "Database of a query whose input names none.")
    default_catalog: str = _setting(
        "AwsDataCatalog",
        _text(r"[A-Za-z0-9_@-]{1,127}", "a data catalog: letters, digits, _ @ or -"),
        "Data catalog of a query whose input names none.",
    )
    # Athena's own minimum is 10 MB (API reference, WorkGroupConfiguration).
    bytes_scanned_limit: int = _setting(
        1024**4,
        _whole_number(10_000_000, 10**17),
        "Bytes after which Athena stops a query (the default is 1 TiB).",
    )
    patience_seconds: int = _setting(
        300,
        _whole_number(1, 86_400),
        'How long "Start query" waits for the completion event before the state machine starts to poll.',
    )
    poll_seconds: int = _setting(30, _whole_number(1, 3_600), "Shortest interval between polls.")
    # A smaller share could reach Step Functions' limit of 25,000 history events within two days.
    poll_growth: float = _setting(
        0.1, _amount(0.05, 1), "The interval between polls grows to this share of the query's age."
    )
    max_attempts: int = _setting(
        2,
        _whole_number(1, 10),
        "How many times a statement may run when it fails with a transient error. An input can override it.",
    )
    back_off_seconds: int = _setting(
        10,
        _whole_number(1, 3_600),
        "Delay before the first retry of a statement; doubled for each further one.",
    )
    # Used only to estimate a query's cost.
    usd_per_terabyte: float = _setting(
        5.0,
        _amount(0, 1_000),
        "Athena's price per terabyte in your Region, for the cost estimate of a query.",
    )
    results_retention_days: int = _setting(30, _whole_number(1, 3_650), "Days to keep query results.")
    log_retention_days: int = _setting(30, _one_of(*_LOG_RETENTION_DAYS), "Days to keep logs.")
    # An item must outlive its execution, which may last two days and be redriven for 14 more.
    task_ttl_days: int = _setting(
        30, _whole_number(17, 365), "Days that the task table keeps the record of a query."
    )
    alarm_topic_arn: str = _setting(
        "",
        _text(r"|arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[\w-]+", "an SNS topic's ARN"),
        "SNS topic that alarms notify.",
    )
    synthesizer: str = _setting(
        "default",
        _one_of("default", "cli-credentials"),
        "`cli-credentials` deploys with your own credentials, not with the roles of `cdk bootstrap`.",
    )

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> "Settings":
        """Raise SettingError for an unknown name and for a value that is not allowed."""
        parsers = {camel_case(one.name): one for one in fields(cls)}
        chosen = {}
        for name, value in context.items():
            if not _OURS.fullmatch(name):
                continue
            if name not in parsers:
                raise SettingError(_unknown(name, value, list(parsers)))
            try:
                chosen[parsers[name].name] = parsers[name].metadata["parse"](value)
            except ValueError as allowed:
                raise SettingError(f"setting {name} is {json.dumps(value)}; it must be {allowed}") from None
        return cls(**chosen)


def camel_case(name: str) -> str:
    """The name of a field in the CDK context."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _unknown(name: str, value: Any, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    allowed = f"did you mean {near[0]}?" if near else "the settings are " + ", ".join(sorted(names))
    return f"unknown setting {name} (value {json.dumps(value)}); {allowed}"
