"""CAST and TRY_CAST: stricter than DuckDB's, with Trino's text format for numbers and times."""

from local.emulator.athena.errors import Failure, not_supported
from local.emulator.athena.sql.coercion import INTEGERS, NUMBERS
from local.emulator.athena.sql.types import Type, fields
from local.emulator.athena.sql.values import Value, guarded, literal

_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_DATE = r"\s*\d{4}-\d{1,2}-\d{1,2}\s*"
# The text that Trino accepts for each type. DuckDB accepts more.
_SHAPES = {
    **dict.fromkeys(INTEGERS, r"[+-]?\d+"),
    "decimal": _NUMBER,
    "real": rf"\s*({_NUMBER}|NaN|[+-]?Infinity)\s*",
    "double": rf"\s*({_NUMBER}|NaN|[+-]?Infinity)\s*",
    "boolean": "(?i)true|false|t|f|1|0",
    "date": _DATE,
    "timestamp": r"\s*\d{4}-\d{1,2}-\d{1,2}( \d{1,2}:\d{1,2}(:\d{1,2}(\.\d+)?)?)?\s*",
    "time": r"\d{1,2}:\d{1,2}(:\d{1,2}(\.\d+)?)?",
    "uuid": r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}
_MICROSECONDS = 6
_SHOWN = {"integer": "INT", "timestamp": "timestamp"}


def cast(value: Value, kind: Type, place: str, *, trying: bool) -> Value:  # noqa: PLR0911 - a case a line
    """Raise Failure if Athena has no such cast, or it is not supported locally."""
    source, target = value.type.name, kind.name
    if source == "unknown" or value.type == kind:
        return value.cast(kind)
    if source == "varchar":
        return _from_text(value, kind, place, trying=trying)
    if target == "varchar":
        return Value(_shortened(_to_text(value, place), kind), kind)
    if source == "json":
        return _from_json(value, kind, trying=trying)
    if target == "json":
        return _to_json(value, kind)
    if source in {"array", "map", "row"} and source == target:
        # An element that cannot be cast makes the whole value NULL.
        sql = _nested(value, kind, place).sql
        return Value(_tried(sql) if trying else sql, kind)
    sql = _between(value, kind, place)
    return Value(_tried(sql) if trying else sql, kind)


def _tried(sql: str) -> str:
    return f"TRY({sql})"


def _no_cast(value: Value, kind: Type, place: str) -> Failure:
    return Failure(f"TYPE_MISMATCH: {place}Cannot cast {value.type} to {kind}")


def _from_text(value: Value, kind: Type, place: str, *, trying: bool) -> Value:
    plain = {
        "varchar": f"left({value.sql}, {kind.args[0]})" if kind.args else value.sql,
        "json": f"CAST(to_json({value.sql}) AS JSON)",
        "varbinary": f"encode({value.sql})",
    }
    if kind.name in plain:
        return Value(plain[kind.name], kind)
    if kind.name not in _SHAPES:
        raise (
            not_supported(f"CAST of varchar to {kind}")
            if "zone" in kind.name
            else _no_cast(value, kind, place)
        )
    fits = f"regexp_full_match({value.sql}, {literal(_SHAPES[kind.name])})"
    if trying:
        return Value(f"TRY_CAST(CASE WHEN {fits} THEN {value.sql} END AS {kind.duckdb})", kind)
    if kind.name in {"date", "timestamp"}:
        message = f"'INVALID_CAST_ARGUMENT: Value cannot be cast to {kind.name}: ' || {value.sql}"
    else:
        wanted = _SHOWN.get(kind.name, str(kind).upper())
        named = f"chr(39) || {value.sql} || chr(39) || ' to {wanted}'"
        message = f"'INVALID_CAST_ARGUMENT: Cannot cast ' || {named}"
    return Value(guarded(fits, f"CAST({value.sql} AS {kind.duckdb})", message), kind)


def _to_text(value: Value, place: str) -> str:
    kind = value.type
    match kind.name:
        case "json":
            return _json_text(value)
        case "boolean" | "date" | "decimal" | "uuid":
            return f"CAST({value.sql} AS VARCHAR)"
        case name if name in INTEGERS:
            return f"CAST({value.sql} AS VARCHAR)"
        case "real" | "double":
            return _floating_text(value)
        case "timestamp" | "timestamp with time zone":
            local = value.local if kind.name != "timestamp" else value.sql
            digits = {0: "", 3: ".%g", 6: ".%f"}.get(int(kind.args[0]))
            if digits is None:
                raise not_supported(f"CAST of {kind} to varchar")
            zone = f" || ' {kind.zone}'" if kind.name != "timestamp" else ""
            return f"strftime({local}, '%Y-%m-%d %H:%M:%S{digits}'){zone}"
        case "varbinary":
            return f"decode({value.sql})"
    raise _no_cast(value, Type("varchar"), place)


def _json_text(value: Value) -> str:
    """A scalar without quotes. Arrays and objects have no such cast."""
    sql, kind = value.sql, f"json_type({value.sql})"
    message = f"'INVALID_CAST_ARGUMENT: Cannot cast to varchar: ' || CAST({sql} AS VARCHAR)"
    scalar = guarded(f"{kind} NOT IN ('ARRAY', 'OBJECT')", f"json_extract_string({sql}, '$')", message)
    number = _floating_text(Value(f"CAST({sql} AS DOUBLE)", Type("double")))
    return f"CASE {kind} WHEN 'NULL' THEN NULL WHEN 'DOUBLE' THEN {number} ELSE {scalar} END"


def _floating_text(value: Value) -> str:
    """Java writes very large and small numbers with an exponent. Those fail at run time."""
    sql = value.sql
    message = (
        "'NOT_SUPPORTED: CAST of a number beyond 0.001 and 10000000 to varchar is not supported locally'"
    )
    plain = f"{sql} = 0 OR (abs({sql}) >= 0.001 AND abs({sql}) < 10000000)"
    infinite = f"CASE WHEN {sql} > 0 THEN 'Infinity' ELSE '-Infinity' END"
    finite = guarded(plain, f"CAST({sql} AS VARCHAR)", message)
    return f"CASE WHEN isnan({sql}) THEN 'NaN' WHEN isinf({sql}) THEN {infinite} ELSE {finite} END"


def _shortened(text: str, kind: Type) -> str:
    """Fail if the text is longer than the type allows."""
    if not kind.args:
        return text
    message = f"'INVALID_CAST_ARGUMENT: Value cannot be represented as {kind}: ' || {text}"
    return guarded(f"length({text}) <= {kind.args[0]}", text, message)


def _from_json(value: Value, kind: Type, *, trying: bool) -> Value:
    """DuckDB reads arrays, maps and scalars as Trino does, but not rows."""
    if "row" in str(kind):
        raise not_supported(f"CAST of json to {kind}")
    return Value(f"{'TRY_CAST' if trying else 'CAST'}({value.sql} AS {kind.duckdb})", kind)


def _to_json(value: Value, kind: Type) -> Value:
    if not _plain_json(value.type):
        raise not_supported(f"CAST of {value.type} to json")
    return Value(f"CAST(to_json({value.sql}) AS JSON)", kind)


def _plain_json(kind: Type) -> bool:
    """Whether DuckDB's JSON for the type is the same as Trino's."""
    if kind.name in {"array", "map"}:
        return all(map(_plain_json, kind.args))
    return kind.name in {*INTEGERS, "boolean", "varchar", "json"}


def _nested(value: Value, kind: Type, place: str) -> Value:
    """Cast each element, field or value."""
    if kind.name == "array":
        inner = cast(Value("__c", value.type.args[0]), kind.args[0], place, trying=False)
        return Value(f"list_transform({value.sql}, lambda __c: {inner.sql})", kind)
    if kind.name == "row" and len(value.type.args) == len(kind.args):
        changed = [
            cast(Value(f"struct_extract({value.sql}, {literal(name)})", given), wanted, place, trying=False)
            for (name, given), (_, wanted) in zip(fields(value.type), kind.args, strict=True)
        ]
        pairs = zip(fields(kind), changed, strict=True)
        listed = ", ".join(f"{literal(name)}: {one.sql}" for (name, _), one in pairs)
        return Value(f"CASE WHEN {value.sql} IS NOT NULL THEN {{{listed}}} END", kind)
    if kind.name == "map" and _fits(value.type.args[0], kind.args[0]):
        inner = cast(Value("__e.value", value.type.args[1]), kind.args[1], place, trying=False)
        pair = f"{{'key': __e.key, 'value': {inner.sql}}}"
        return Value(f"map_from_entries(list_transform(map_entries({value.sql}), lambda __e: {pair}))", kind)
    raise not_supported(f"CAST of {value.type} to {kind}")


def _fits(source: Type, target: Type) -> bool:
    """Whether the types are the same, or the target is longer text."""
    if source.name == target.name == "varchar":
        return not target.args or bool(source.args and source.args[0] <= target.args[0])
    return source == target


def _between(value: Value, kind: Type, place: str) -> str:  # noqa: PLR0911 - a case a line
    """Casts between numbers, booleans, dates and timestamps."""
    source, target = value.type.name, kind.name
    if source in {"real", "double"} and target in INTEGERS:
        # Halves away from zero.
        return f"CAST(round({value.sql}) AS {kind.duckdb})"
    if source in NUMBERS and target in {*NUMBERS, "boolean"}:
        return f"CAST({value.sql} AS {kind.duckdb})"
    if source == "boolean" and target in NUMBERS:
        return f"CAST({value.sql} AS {kind.duckdb})"
    if source == "timestamp with time zone" and target in {"date", "timestamp", "time"}:
        return f"CAST({_to_precision(value.local, kind)} AS {kind.duckdb})"
    if source in {"date", "timestamp"} and target == "timestamp with time zone":
        return value.cast(kind).sql
    if source == target == "timestamp with time zone":
        return value.sql
    if source in {"date", "timestamp"} and target in {"date", "timestamp", "time"}:
        return f"CAST({_to_precision(value.sql, kind)} AS {kind.duckdb})"
    raise _no_cast(value, kind, place)


def _to_precision(sql: str, kind: Type) -> str:
    """Round to the precision of the type."""
    digits = int(kind.args[0]) if kind.name == "timestamp" else _MICROSECONDS
    if digits >= _MICROSECONDS:
        return sql
    step = 10 ** (_MICROSECONDS - digits)
    half = f"CAST({sql} AS TIMESTAMP) + INTERVAL '{step // 2} microseconds'"
    return f"time_bucket(INTERVAL '{step} microseconds', {half})"
