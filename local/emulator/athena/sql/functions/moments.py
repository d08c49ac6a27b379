"""Functions for dates, timestamps and intervals."""

import re
from collections.abc import Callable

from local.emulator.athena.errors import Failure, not_supported
from local.emulator.athena.sql.functions.collections import BACKWARDS, forward
from local.emulator.athena.sql.signatures import Signature, read, special
from local.emulator.athena.sql.types import Type
from local.emulator.athena.sql.values import Value, guarded, literal

_NOW = "date_trunc('millisecond', now())"

_TABLE = """
date_trunc(dayunit, date) -> date = CAST(date_trunc($0, $1) AS DATE)
date_trunc(unit, P) -> P = date_trunc($0, $1)
date_trunc(unit, Z) -> Z = timezone('$1.zone', date_trunc($0, $1.local))
date_diff(dayunit, date, date) -> bigint = date_sub($0, $1, $2)
date_diff(unit, P, P) -> bigint = date_sub($0, $1, $2)
date_diff(unit, Z, Z) -> bigint = date_sub($0, $1.local, $2.local)
from_unixtime(double) -> timestamp(3) with time zone = to_timestamp(round($0 * 1000) / 1000)
now() -> timestamp(3) with time zone = NOW
to_iso8601(date) -> varchar = strftime($0, '%Y-%m-%d')
to_milliseconds(interval day to second) -> bigint = CAST(epoch_ms($0) AS BIGINT)
timezone_hour(Z) -> bigint = CAST(date_part('hour', $0.local - timezone('UTC', $0)) AS BIGINT)
timezone_minute(Z) -> bigint = CAST(date_part('minute', $0.local - timezone('UTC', $0)) AS BIGINT)
to_unixtime(P) -> double = epoch($0)
to_unixtime(Z) -> double = epoch($0)
last_day_of_month(date) -> date = last_day($0)
last_day_of_month(P) -> date = last_day($0)
last_day_of_month(Z) -> date = last_day($0.local)
sequence(date, date) -> array(date) = list_transform(generate_series($0, $1, CASE WHEN $0 <= $1 THEN INTERVAL 1 DAY ELSE INTERVAL (-1) DAY END), lambda __d: CAST(__d AS DATE))
"""

# Parts of a date or time, with DuckDB's function.
_DATE_PARTS = {
    "year": "year",
    "quarter": "quarter",
    "month": "month",
    "week": "weekofyear",
    "year_of_week": "isoyear",
    "day": "day",
    "day_of_week": "isodow",
    "day_of_year": "dayofyear",
}
_TIME_PARTS = {"hour": "hour", "minute": "minute", "second": "second"}


def _parts() -> list[Signature]:
    lines = [f"{name}(date) -> bigint = {duck}($0)" for name, duck in _DATE_PARTS.items()]
    parts = {**_DATE_PARTS, **_TIME_PARTS}.items()
    lines += [f"{name}(P) -> bigint = {duck}($0)" for name, duck in parts]
    lines += [f"{name}(Z) -> bigint = {duck}($0.local)" for name, duck in parts]
    lines += ["millisecond(P) -> bigint = (millisecond($0) % 1000)"]
    lines += ["millisecond(Z) -> bigint = (millisecond($0.local) % 1000)"]
    return read("\n".join(lines))


def _add(unit: Value, count: Value, moment: Value) -> str:
    """DuckDB's to_days and to_months take 32-bit integers."""
    name = (unit.text or "").lower()
    number = f"CAST({count.sql} AS {'INTEGER' if name in _DAYS else 'BIGINT'})"
    moved = f"({{}} + to_{name}s({number}))"
    if moment.type.name == "date":
        return f"CAST({moved.format(moment.sql)} AS DATE)"
    if moment.type.name == "timestamp with time zone" and name in _DAYS:
        return f"timezone({literal(moment.zone)}, {moved.format(moment.local)})"
    return moved.format(moment.sql)


_DAYS = ("day", "week", "month", "quarter", "year")

# MySQL's format specifiers, with strftime's.
_MYSQL = {
    **{sign: f"%{sign}" for sign in "abdfHjmpSYy%"},
    "c": "%-m",
    "e": "%-d",
    "h": "%I",
    "I": "%I",
    "i": "%M",
    "k": "%-H",
    "l": "%-I",
    "M": "%B",
    "r": "%I:%M:%S %p",
    "s": "%S",
    "T": "%H:%M:%S",
    "v": "%V",
    "W": "%A",
    "x": "%G",
}
# Joda's format letters, with strftime's.
_JODA = {
    "yyyy": "%Y",
    "yy": "%y",
    "MMMM": "%B",
    "MMM": "%b",
    "MM": "%m",
    "M": "%-m",
    "dd": "%d",
    "d": "%-d",
    "HH": "%H",
    "H": "%-H",
    "hh": "%I",
    "mm": "%M",
    "ss": "%S",
    "SSS": "%g",
    "EEEE": "%A",
    "EEE": "%a",
    "a": "%p",
    "DDD": "%j",
}


def _mysql_format(given: Value) -> str:
    """Convert a format of date_format or date_parse."""
    if given.text is None:
        raise not_supported("a date format that is not a literal")

    def specifier(match: re.Match[str]) -> str:
        if match[1] not in _MYSQL:
            raise not_supported(f"the date format specifier %{match[1]}")
        return _MYSQL[match[1]]

    return literal(re.sub(r"%(.)", specifier, given.text))


def _joda_format(given: Value) -> str:
    """Convert a format of format_datetime or parse_datetime."""
    if given.text is None:
        raise not_supported("a date format that is not a literal")
    parts: list[str] = []
    for quoted, letters, other in re.findall(r"'([^']*)'|([A-Za-z]+)|(.)", given.text):
        if letters:
            parts.extend(_joda_letters(run[0]) for run in re.finditer(r"(.)\1*", letters))
        else:
            parts.append((quoted or other or "'").replace("%", "%%"))
    return literal("".join(parts))


def _joda_letters(letters: str) -> str:
    if letters not in _JODA:
        raise not_supported(f"the date format {letters}")
    return _JODA[letters]


def _formatted(convert: Callable[[Value], str]) -> Callable[[Value, Value], str]:
    def body(moment: Value, given: Value) -> str:
        local = moment.local if moment.type.name == "timestamp with time zone" else moment.sql
        return f"strftime({local}, {convert(given)})"

    return body


def _date_parse(text: Value, given: Value) -> str:
    return f"date_trunc('millisecond', strptime({text.sql}, {_mysql_format(given)}))"


def _parse_datetime(text: Value, given: Value) -> str:
    return f"timezone('UTC', strptime({text.sql}, {_joda_format(given)}))"


def _sequence(first: Value, last: Value, step: Value) -> str:
    moments = f"generate_series({first.sql}, {last.sql}, {step.sql})"
    ordered = forward(first, last, f"{step.sql} > INTERVAL 0 SECOND")
    return guarded(ordered, _as_type_of(first, moments), BACKWARDS)


def _sequence_of_months(first: Value, last: Value, step: Value) -> str:
    """Each is counted from the first: the last day of a month stays the last."""
    months = f"CAST(12 * date_part('year', {step.sql}) + date_part('month', {step.sql}) AS INTEGER)"
    numbers = f"generate_series(0, date_sub('month', {first.sql}, {last.sql}) // {months})"
    moments = (
        f"list_transform({numbers}, lambda __i: {first.sql} + to_months(CAST(__i AS INTEGER) * {months}))"
    )
    ordered = forward(first, last, f"{months} > 0")
    return guarded(ordered, _as_type_of(first, moments), BACKWARDS)


def _as_type_of(first: Value, moments: str) -> str:
    return (
        f"list_transform({moments}, lambda __d: CAST(__d AS DATE))" if first.type.name == "date" else moments
    )


def _in_zone(moment: Value, zone: Value) -> Value:
    """The same instant in another zone."""
    return Value(moment.sql, Type(moment.type.name, moment.type.args, zone=known_zone(zone)))


def _with_zone(moment: Value, zone: Value) -> Value:
    """The instant with this local time in the zone."""
    name = known_zone(zone)
    return Value(
        f"timezone({literal(name)}, {moment.sql})",
        Type("timestamp with time zone", moment.type.args, zone=name),
    )


def known_zone(zone: Value) -> str:
    """The name of a zone, which has to be a literal: it is part of the type."""
    if zone.text is None:
        raise not_supported("a time zone that is not a literal")
    if not re.fullmatch(r"UTC|[A-Z]\w+(/[\w+-]+)+", zone.text):
        raise not_supported(f"the time zone {zone.text}")
    return zone.text


def _from_unixtime(seconds: Value, zone: Value) -> Value:
    kind = Type("timestamp with time zone", (3,), zone=known_zone(zone))
    return Value(f"to_timestamp(round({seconds.sql} * 1000) / 1000)", kind)


def _from_iso8601_timestamp(text: Value) -> str:
    """UTC only: the zone is part of the type, and the value may differ by row."""
    shape = r"\d{4}-\d{2}-\d{2}(T\d{2}(:\d{2}(:\d{2}([.,]\d+)?)?)?)?(Z|[+-]00:?00)?"
    message = f"'NOT_SUPPORTED: from_iso8601_timestamp of ' || {text.sql} || ' is not supported locally'"
    bare = f"regexp_replace(replace({text.sql}, 'T', ' '), '(Z|[+-]00:?00)$', '')"
    whole = f"CASE WHEN regexp_full_match({bare}, '.{{10}} \\d{{2}}') THEN {bare} || ':00' ELSE {bare} END"
    value = f"date_trunc('millisecond', timezone('UTC', CAST({whole} AS TIMESTAMP)))"
    return guarded(f"regexp_full_match({text.sql}, {literal(shape)})", value, message)


def _from_iso8601_date(text: Value) -> str:
    message = f"'INVALID_FUNCTION_ARGUMENT: Invalid format: \"' || {text.sql} || '\"'"
    shape = r"\d{4}-\d{2}-\d{2}"
    return guarded(f"regexp_full_match({text.sql}, '{shape}')", f"CAST({text.sql} AS DATE)", message)


def _to_iso8601(moment: Value) -> str:
    fraction = {0: "", 3: ".%g", 6: ".%f"}.get(int(moment.type.args[0]))
    if fraction is None or moment.zone != "UTC":
        raise not_supported(f"to_iso8601 of {moment.type} in {moment.zone}")
    if moment.type.name == "timestamp":
        return f"strftime({moment.sql}, '%Y-%m-%dT%H:%M:%S{fraction}')"
    return f"strftime({moment.local}, '%Y-%m-%dT%H:%M:%S{fraction}Z')"


def plus(moment: Value, interval: Value, sign: str) -> Value:
    """Add or subtract an interval. A date accepts whole days only."""
    sql = f"({moment.sql} {sign} {interval.sql})"
    months = interval.type.name == "interval year to month"
    if moment.type.name == "date":
        if not months and not re.search(r"INTERVAL '-?\d+ (day|week)'", interval.sql):
            raise Failure("INVALID_FUNCTION_ARGUMENT: Cannot add hour, minutes or seconds to a date")
        return Value(f"CAST({sql} AS DATE)", moment.type)
    if moment.type.name == "timestamp":
        precision = int(moment.type.args[0])
        return Value(sql, Type("timestamp", (precision if months else max(3, precision),)))
    if months:
        sql = f"timezone({literal(moment.zone)}, {moment.local} {sign} {interval.sql})"
    return Value(sql, moment.type)


SIGNATURES = [
    *read(_TABLE.replace("NOW", _NOW)),
    *_parts(),
    *(
        special(f"sequence({kind}, {kind}, interval {unit}) -> array({kind})", body)
        for kind in ("date", "P")
        for unit, body in (("day to second", _sequence), ("year to month", _sequence_of_months))
    ),
    special("date_add(dayunit, bigint, date) -> date", _add),
    special("date_add(unit, bigint, P) -> P", _add),
    special("date_add(unit, bigint, Z) -> Z", _add),
    *(special(f"date_format({kind}, varchar) -> varchar", _formatted(_mysql_format)) for kind in ("P", "Z")),
    *(
        special(f"format_datetime({kind}, varchar) -> varchar", _formatted(_joda_format))
        for kind in ("P", "Z")
    ),
    special("date_parse(varchar, varchar) -> timestamp(3)", _date_parse),
    special("parse_datetime(varchar, varchar) -> timestamp(3) with time zone", _parse_datetime),
    special("at_timezone(Z, varchar) -> Z", _in_zone),
    special("with_timezone(P, varchar) -> timestamp(3) with time zone", _with_zone),
    special("from_unixtime(double, varchar) -> timestamp(3) with time zone", _from_unixtime),
    special("from_iso8601_timestamp(varchar) -> timestamp(3) with time zone", _from_iso8601_timestamp),
    special("from_iso8601_date(varchar) -> date", _from_iso8601_date),
    special("to_iso8601(P) -> varchar", _to_iso8601),
    special("to_iso8601(Z) -> varchar", _to_iso8601),
]
ALIASES = {
    "day_of_month": "day",
    "dow": "day_of_week",
    "doy": "day_of_year",
    "week_of_year": "week",
    "yow": "year_of_week",
}
