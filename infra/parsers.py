"""Parsers of setting values. Each returns the typed value, or raises ValueError with what is allowed."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Parser = Callable[[Any], Any]


@dataclass(frozen=True, order=True)
class Prefix:
    """The objects of `bucket` whose keys start with `key`: empty, or it ends with a slash."""

    bucket: str
    key: str


@dataclass(frozen=True, order=True)
class Table:
    database: str
    name: str


def whole_number(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        # int() also accepts True, 1.5 and " 1_0 ".
        if re.fullmatch(r"[0-9]{1,18}", str(value)) and low <= int(value) <= high:
            return int(value)
        raise ValueError(f"a whole number from {low} to {high}")

    return parse


def one_of(*allowed: Any) -> Parser:
    def parse(value: Any) -> Any:
        for one in allowed:
            if str(value) == str(one):
                return one
        raise ValueError("one of " + ", ".join(map(str, allowed)))

    return parse


def number(low: float, high: float) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", str(value)) and low <= float(value) <= high:
            return float(value)
        raise ValueError(f"a number from {low:g} to {high:g}")

    return parse


def text(pattern: str, allowed: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII):
            return value
        raise ValueError(allowed)

    return parse


def list_of(parse_one: Parser) -> Callable[[Any], tuple[Any, ...]]:
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


def prefix(value: Any) -> Prefix:
    match = re.fullmatch(r"(?:s3://)?([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/((?:[^*?$/\s]+/)*)", value)
    if match is None:
        raise ValueError("an S3 prefix as bucket/prefix/ with the slash at its end, without * ? $ or spaces")
    return Prefix(bucket=match[1], key=match[2])


def key_prefix(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"(?:[^*?$/\s]+/)+", value):
        return value
    raise ValueError("a key prefix that ends with a slash, without * ? $ or spaces")


def optional(parse: Parser) -> Parser:
    """The empty text stands for none."""

    def parse_optional(value: Any) -> Any:
        return "" if value == "" else parse(value)

    return parse_optional


def boolean(value: Any) -> bool:
    """CDK's command line passes text."""
    if value in (True, False, "true", "false"):
        return value in (True, "true")
    raise ValueError("true or false")


def tags(value: Any) -> tuple[tuple[str, str], ...]:
    """A JSON object, or text as KEY=VALUE,KEY=VALUE. Sorted by key."""
    allowed = "a JSON object or KEY=VALUE,… with keys up to 128 and values up to 256 characters, not aws:…"
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.startswith("{") else dict(_pairs(value))
        except ValueError:
            raise ValueError(allowed) from None
    characters = r"[\w .:/=+@-]"
    if isinstance(value, dict) and all(
        re.fullmatch(rf"(?!(?i:aws):){characters}{{1,128}}", str(name))
        and re.fullmatch(rf"{characters}{{0,256}}", str(one))
        for name, one in value.items()
    ):
        return tuple(sorted((str(name), str(one)) for name, one in value.items()))
    raise ValueError(allowed)


def _pairs(value: str) -> Iterator[tuple[str, str]]:
    for one in filter(None, value.split(",")):
        name, equals, rest = one.partition("=")
        if not equals:
            raise ValueError(one)
        yield name.strip(), rest.strip()


catalog = text(r"[A-Za-z0-9_@-]{1,127}", "a data catalog: letters, digits, _ @ or -")
bucket = text(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of an S3 bucket")
work_group = text(r"[A-Za-z0-9._-]{1,128}", "the name of an Athena workgroup")
key_arn = text(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+", "a KMS key's ARN")
subnet = text(r"subnet-[0-9a-f]{8,17}", "the id of a subnet")
security_group = text(r"sg-[0-9a-f]{8,17}", "the id of a security group")
policy_arn = text(r"arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[\w+=,.@/-]{1,600}", "an IAM policy's ARN")
role_path = text(r"/([!-.0-~]+/)*", "a path that begins and ends with a slash")
role_name_prefix = text(r"[\w+=,.@-]{0,32}", "up to 32 letters, digits and _ + = , . @ -")
stage = text(r"[A-Za-z0-9-]{0,20}", "up to 20 letters, digits and -")
topic_arn = text(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[\w-]+", "an SNS topic's ARN")
function_arn = text(
    r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:function:[A-Za-z0-9_-]{1,64}", "a Lambda function's ARN"
)
database = text(r"[a-z0-9_-]{1,255}", "a Glue database: lower-case letters, digits, _ or -")


def table(value: Any) -> Table:
    match = re.fullmatch(r"([a-z0-9_-]{1,255})\.([a-z0-9_-]{1,255})", value)
    if match is None:
        raise ValueError("a Glue table as database.table: lower-case letters, digits, _ or -")
    return Table(database=match[1], name=match[2])
