"""Literals, and the current date and time."""

import re
from decimal import Decimal

from sqlglot import exp

from local.emulator.athena.errors import Failure, not_supported
from local.emulator.athena.sql import places, types
from local.emulator.athena.sql.coercion import BIGINT, BOOLEAN, DOUBLE, INTEGER, UNKNOWN
from local.emulator.athena.sql.dialect import AthenaSql
from local.emulator.athena.sql.types import Type
from local.emulator.athena.sql.values import Value, literal

_INT_MAX, _BIGINT_MAX = 2**31 - 1, 2**63 - 1
_DAY_TO_SECOND = {"DAY", "HOUR", "MINUTE", "SECOND", "WEEK"}


def value(node: exp.Expr) -> Value:  # noqa: C901, PLR0911 - a case a line
    match node:
        case exp.Literal() if node.is_string:
            return Value(literal(node.name), Type("varchar", (len(node.name),)), node.name)
        case exp.Literal():
            return _number(node.name)
        case exp.Boolean():
            return Value("true" if node.this else "false", BOOLEAN)
        case exp.Null():
            return Value("NULL", UNKNOWN)
        case exp.HexString():
            return Value(f"unhex({literal(node.name)})", Type("varbinary"))
        case exp.Interval():
            return _interval(node)
        case exp.ParseJSON():
            return Value(f"json(json_sorted({literal(node.this.name)}))", Type("json"))
        case exp.CurrentDate():
            return Value("CAST(now() AS DATE)", Type("date"))
        case exp.CurrentTimestamp():
            return Value("date_trunc('millisecond', now())", Type("timestamp with time zone", (3,)))
        case exp.Localtimestamp():
            return Value("date_trunc('millisecond', CAST(now() AS TIMESTAMP))", Type("timestamp", (3,)))
    raise not_supported(type(node).__name__.upper())


KINDS = (
    exp.Literal,
    exp.Boolean,
    exp.Null,
    exp.HexString,
    exp.Interval,
    exp.ParseJSON,
    exp.CurrentDate,
    exp.CurrentTimestamp,
    exp.Localtimestamp,
    exp.CurrentTime,
    exp.Localtime,
)


def _number(text: str) -> Value:
    if "e" in text.lower():
        return Value(f"CAST({text} AS DOUBLE)", DOUBLE)
    if "." in text:
        kind = decimal_of(text)
        return Value(f"CAST({text} AS {kind.duckdb})", kind)
    number = int(text)
    if number > _BIGINT_MAX:
        raise Failure(f"NUMERIC_VALUE_OUT_OF_RANGE: Invalid numeric literal: {text}")
    kind = INTEGER if number <= _INT_MAX else BIGINT
    return Value(f"CAST({text} AS {kind.duckdb})", kind)


def decimal_of(text: str) -> Type:
    """The type of a decimal literal: its number of digits, in all and after the point."""
    _, digits, exponent = Decimal(text).as_tuple()
    scale = max(0, -int(exponent))
    return Type("decimal", (max(len(digits), scale, 1), scale))


def _interval(node: exp.Interval) -> Value:
    """DuckDB has one interval type, Trino has two."""
    unit = node.args["unit"]
    text = node.this.name
    if isinstance(unit, exp.IntervalSpan):
        years, _, months = text.partition("-")
        if unit.sql().upper() != "YEAR TO MONTH" or not months:
            raise not_supported(f"INTERVAL {unit.sql()}")
        count, name = int(years) * 12 + int(months) * (-1 if text.startswith("-") else 1), "MONTH"
        return Value(f"INTERVAL '{count} month'", Type("interval year to month"))
    name = unit.name.upper().removesuffix("S")
    if name not in {*_DAY_TO_SECOND, "YEAR", "MONTH"} or not re.fullmatch(r"-?\d+(\.\d+)?", text):
        raise not_supported(f"INTERVAL '{text}' {name}")
    kind = "interval day to second" if name in _DAY_TO_SECOND else "interval year to month"
    return Value(f"INTERVAL '{text} {name.lower()}'", Type(kind))


def type_of(node: exp.DataType) -> Type:
    try:
        return types.parse(node.sql(dialect=AthenaSql))
    except ValueError:
        raise not_supported(f"the type {node.sql(dialect=AthenaSql)}") from None


def is_typed(node: exp.Cast, text: str) -> bool:
    """Whether it is a typed literal such as DATE '…', which sqlglot parses as a cast."""
    if not isinstance(node.this, exp.Literal) or not node.this.is_string or isinstance(node, exp.TryCast):
        return False
    before = text[: places.start(node.this)].rstrip()
    return not before.endswith("(")


def typed(node: exp.Cast, place: str) -> Value:
    """`DATE '2024-02-29'`. The digits of the literal determine the precision."""
    text = node.this.name
    kind = type_of(node.to)
    if kind.name == "decimal":
        kind = decimal_of(text)
    if kind.name.endswith("with time zone"):
        return _instant(text, kind)
    shapes = {
        "date": r"\s*-?\d{4,}-\d{1,2}-\d{1,2}\s*",
        "timestamp": r"\s*\d{4}-\d{1,2}-\d{1,2}( \d{1,2}:\d{1,2}(:\d{1,2}(\.\d{1,6})?)?)?\s*",
        "time": r"\d{1,2}:\d{1,2}(:\d{1,2}(\.\d{1,6})?)?",
    }
    if kind.name in shapes and not re.fullmatch(shapes[kind.name], text):
        raise Failure(f"INVALID_LITERAL: {place}'{text}' is not a valid {kind.name.upper()} literal")
    if kind.name == "timestamp":
        # DuckDB wants minutes with the hours.
        text = text.strip()
    return Value(f"CAST({literal(text)} AS {kind.duckdb})", kind)


def _instant(text: str, kind: Type) -> Value:
    """`TIMESTAMP '2020-01-01 00:00:00 UTC'`."""
    match = re.fullmatch(r"(.*\d) +(UTC|[A-Z]\w+(?:/[\w+-]+)+)", text)
    if match is None:
        raise not_supported(f"TIMESTAMP '{text}'")
    fraction = match[1].partition(".")[2]
    kind = Type("timestamp with time zone", (len(fraction),), zone=match[2])
    return Value(f"timezone({literal(match[2])}, CAST({literal(match[1])} AS TIMESTAMP))", kind)
