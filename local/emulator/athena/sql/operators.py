"""Arithmetic, comparison and concatenation."""

import re

from sqlglot import exp

from local.emulator.athena.errors import Failure, not_supported
from local.emulator.athena.sql import coercion
from local.emulator.athena.sql.coercion import BOOLEAN, INTEGERS, MAX_DECIMAL, NUMBERS, UNKNOWN
from local.emulator.athena.sql.functions import moments
from local.emulator.athena.sql.functions.aggregates import rounded_quotient, scaled, unscaled
from local.emulator.athena.sql.types import Type
from local.emulator.athena.sql.values import Value, guarded

SIGNS = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%"}
COMPARISONS = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM",
    exp.NullSafeNEQ: "IS DISTINCT FROM",
}
_EQUALITIES = {"=", "<>", "IS NOT DISTINCT FROM", "IS DISTINCT FROM"}
_SHOWN = {"IS NOT DISTINCT FROM": "IS DISTINCT FROM"}
_FLOATING = {"real", "double"}
# A number, coerced or not.
_CONSTANT = re.compile(r"(?:CAST\()?-?[\d.]+(?:[eE][+-]?\d+)?(?: AS \w+\))?")
_MOMENTS = {"date", "timestamp", "timestamp with time zone"}


def mismatch(sign: str, left: Type, right: Type, place: str) -> Failure:
    shown = _SHOWN.get(sign, sign)
    return Failure(f"TYPE_MISMATCH: {place}Cannot apply operator: {left} {shown} {right}")


def arithmetic(left: Value, sign: str, right: Value, place: str) -> Value:
    if sign in "+-" and (found := _with_interval(left, sign, right)):
        return found
    names = {left.type.name, right.type.name} - {"unknown"}
    if sign in "*/" and any(name.startswith("interval") for name in names) and names & set(NUMBERS):
        raise not_supported(f"{left.type} {sign} {right.type}")
    if not names <= set(NUMBERS):
        raise mismatch(sign, left.type, right.type, place)
    kind = coercion.common(left.type, right.type)
    if kind is None or kind == UNKNOWN:
        return Value("CAST(NULL AS INTEGER)", coercion.INTEGER)
    if kind.name == "decimal":
        return _decimals(
            left.cast(coercion.as_decimal(left.type)), sign, right.cast(coercion.as_decimal(right.type))
        )
    one, other = left.cast(kind), right.cast(kind)
    if sign == "/" and kind.name in INTEGERS:
        sign = "//"
    return Value(f"({one.sql} {sign} {other.sql})", kind)


def _with_interval(left: Value, sign: str, right: Value) -> Value | None:
    intervals = [one.type.name.startswith("interval") for one in (left, right)]
    if all(intervals) and left.type == right.type:
        return Value(f"({left.sql} {sign} {right.sql})", left.type)
    if intervals[1] and left.type.name in _MOMENTS:
        return moments.plus(left, right, sign)
    if intervals[0] and right.type.name in _MOMENTS and sign == "+":
        return moments.plus(right, left, sign)
    if sign == "-" and left.type.name == right.type.name == "date":
        return Value(f"to_days(CAST({left.sql} - {right.sql} AS INTEGER))", Type("interval day to second"))
    if sign == "-" and {left.type.name, right.type.name} <= _MOMENTS:
        wider = coercion.common(left.type, right.type)
        if wider is not None:
            difference = f"({left.cast(wider).sql} - {right.cast(wider).sql})"
            return Value(difference, Type("interval day to second"))
    return None


def _decimals(left: Value, sign: str, right: Value) -> Value:
    """Trino's precision and scale for the result."""
    (p1, s1), (p2, s2) = left.type.args, right.type.args
    if sign == "/":
        kind = _decimal(p1 + s2 + max(0, s2 - s1), max(s1, s2))
        shift = kind.scale + s2 - s1
        dividend = f"({unscaled(left.sql, s1)} * {10**shift})" if shift else unscaled(left.sql, s1)
        return Value(scaled(rounded_quotient(dividend, unscaled(right.sql, s2)), kind), kind)
    if sign == "*":
        kind = _decimal(p1 + p2, s1 + s2)
    elif sign == "%":
        kind = _decimal(min(p2 - s2, p1 - s1) + max(s1, s2), max(s1, s2))
    else:
        kind = _decimal(max(s1, s2) + max(p1 - s1, p2 - s2) + 1, max(s1, s2))
    return Value(f"CAST(({left.sql} {sign} {right.sql}) AS {kind.duckdb})", kind)


def _decimal(precision: int, scale: int) -> Type:
    return Type("decimal", (min(MAX_DECIMAL, precision), scale))


def comparison(left: Value, sign: str, right: Value, place: str) -> Value:
    kind = comparable(left, sign, right, place)
    one, other = left.cast(kind).sql, right.cast(kind).sql
    sql = f"({one} {sign} {other})"
    if kind.name in {"array", "map"} and sign in {"=", "<>"}:
        return Value(_without_nulls(kind, one, other, sql), BOOLEAN)
    return Value(_without_nan(one, sign, other, sql) if kind.name in _FLOATING else sql, BOOLEAN)


def _without_nulls(kind: Type, left: str, right: str, sql: str) -> str:
    """In Trino the result is unknown if an element that is NULL decides it. DuckDB compares it as a value."""
    if any(one.name in {"array", "map", "row"} for one in kind.args):
        raise not_supported(f"a comparison of {kind}")
    lists = [f"map_values({one})" if kind.name == "map" else one for one in (left, right)]
    complete = " AND ".join(f"len({one}) = list_count({one})" for one in lists)
    message = f"'NOT_SUPPORTED: a comparison of {kind.name}s with NULL in them is not supported locally'"
    return guarded(complete, sql, message)


def _without_nan(left: str, sign: str, right: str, sql: str) -> str:
    """DuckDB has NaN equal to itself and above all numbers. In Trino it neither equals nor exceeds any."""
    constant = [bool(_CONSTANT.fullmatch(one)) for one in (left, right)]
    if sign in {"=", "<>"}:
        if any(constant):
            return sql
        both = f"(isnan({left}) AND isnan({right}))"
        return f"({sql} AND NOT {both})" if sign == "=" else f"({sql} OR {both})"
    if sign in {">", ">=", "<", "<="}:
        greater, lesser = (left, right) if sign in {">", ">="} else (right, left)
        if constant[0 if greater == left else 1]:
            return sql
        return f"({sql} AND NOT (isnan({greater}) AND {lesser} IS NOT NULL))"
    return sql


def comparable(left: Value, sign: str, right: Value, place: str) -> Type:
    """The type in which two values are compared."""
    kind = coercion.common(left.type, right.type)
    if kind is not None and kind.name in {"array", "row"} and not _has(kind, sign):
        raise not_supported(f"a comparison of {kind.name}s with {sign}")
    if kind is None or not _has(kind, sign):
        raise mismatch(sign, left.type, right.type, place)
    return kind


def _has(kind: Type, sign: str) -> bool:
    if kind.name in {*coercion.ORDERABLE, "unknown"}:
        return True
    # Rows are excluded: DuckDB compares NULL fields as values, Trino does not.
    return kind.name in {"array", "map", "json"} and sign in _EQUALITIES


def concatenation(left: Value, right: Value, place: str) -> Value:
    kinds = [left.type, right.type]
    kind = coercion.common(*kinds)
    if kind is None and "array" in {one.name for one in kinds}:
        return _element(left, right, place)
    if kind is None or kind.name not in {"varchar", "varbinary", "array", "unknown"}:
        raise Failure(f"TYPE_MISMATCH: {place}Cannot apply operator: {left.type} || {right.type}")
    if kind.name == "varchar":
        kind = coercion.VARCHAR
    return Value(f"({left.cast(kind).sql} || {right.cast(kind).sql})", kind)


def _element(left: Value, right: Value, place: str) -> Value:
    """Append or prepend an element to an array."""
    array, element = (left, right) if left.type.name == "array" else (right, left)
    inner = coercion.common(array.type.args[0], element.type)
    if inner is None:
        raise Failure(f"TYPE_MISMATCH: {place}Cannot apply operator: {left.type} || {right.type}")
    kind = Type("array", (inner,))
    single = f"[{element.cast(inner).sql}]"
    parts = [array.cast(kind).sql, single] if array is left else [single, array.cast(kind).sql]
    return Value(f"({' || '.join(parts)})", kind)
