"""Functions for arrays and maps."""

from local.emulator.athena.sql.signatures import read, special
from local.emulator.athena.sql.types import fields, quoted
from local.emulator.athena.sql.values import Lambda, Value, guarded, literal

_WITH_NULL = "'NOT_SUPPORTED: sets of arrays with NULL are not supported locally'"
# FOUND in the list of results decides; otherwise the result is NULL if any is, else the opposite.
_MATCH = (
    "list_transform([list_transform($0, $1)], lambda __m: CASE WHEN list_contains(__m, FOUND) THEN THEN_ "
    "WHEN len(__m) > list_count(__m) THEN NULL ELSE NOT THEN_ END)[1]"
)
_ALL = _MATCH.replace("FOUND", "false").replace("THEN_", "false")
_ANY = _MATCH.replace("FOUND", "true").replace("THEN_", "true")
_NONE = _MATCH.replace("FOUND", "true").replace("THEN_", "false")

_TABLE = """
all_match(array(T), function(T, boolean)) -> boolean = ALL
any_match(array(T), function(T, boolean)) -> boolean = ANY
none_match(array(T), function(T, boolean)) -> boolean = NONE
array_distinct(array(T)) -> array(T) = list_filter($0, lambda __x, __i: len(list_filter(list_slice($0, 1, __i - 1), lambda __y: __y IS NOT DISTINCT FROM __x)) = 0)
array_join(array(varchar), varchar) -> varchar = array_to_string($0, $1)
array_join(array(bigint), varchar) -> varchar = array_to_string($0, $1)
array_join(array(varchar), varchar, varchar) -> varchar = array_to_string(list_transform($0, lambda __x: coalesce(__x, $2)), $1)
array_max(array(C)) -> C = CASE WHEN len($0) > list_count($0) THEN NULL ELSE list_max($0) END
array_min(array(C)) -> C = CASE WHEN len($0) > list_count($0) THEN NULL ELSE list_min($0) END
array_position(array(T), T) -> bigint = CASE WHEN $0 IS NULL OR $1 IS NULL THEN NULL ELSE CAST(coalesce(list_position($0, $1), 0) AS BIGINT) END
array_remove(array(T), T) -> array(T) = list_filter($0, lambda __x: __x IS DISTINCT FROM $1)
array_sort(array(C)) -> array(C) = list_sort($0, 'ASC', 'NULLS LAST')
cardinality(array(T)) -> bigint = CAST(len($0) AS BIGINT)
cardinality(map(K, V)) -> bigint = CAST(cardinality($0) AS BIGINT)
concat(array(T), array(T)...) -> array(T) = ($chain)
contains(array(T), T) -> boolean = CASE WHEN list_contains($0, $1) THEN true WHEN len($0) > list_count($0) THEN NULL ELSE list_contains($0, $1) END
element_at(map(K, V), K) -> V = $0[$1]
filter(array(T), function(T, boolean)) -> array(T) = list_filter($0, $1)
flatten(array(array(T))) -> array(T) = flatten($0)
map() -> map(unknown, unknown) = MAP {}
map(array(K), array(V)) -> map(K, V) = map($0, $1)
map_concat(map(K, V), map(K, V)...) -> map(K, V) = map_concat($all)
map_entries(map(K, V)) -> array(row(K, V)) = list_transform(map_entries($0), lambda __e: {'field0': __e.key, 'field1': __e.value})
map_keys(map(K, V)) -> array(K) = map_keys($0)
map_values(map(K, V)) -> array(V) = map_values($0)
repeat(T, bigint) -> array(T) = list_transform(range($1), lambda __x: $0)
reverse(array(T)) -> array(T) = list_reverse($0)
transform(array(T), function(T, U)) -> array(U) = list_transform($0, $1)
zip(array(T), array(U)) -> array(row(T, U)) = list_transform(list_zip($0, $1), lambda __e: {'field0': __e[1], 'field1': __e[2]})
"""


def _element_at(array: Value, index: Value) -> str:
    """NULL beyond the end of the array. A negative index counts from the end."""
    message = "'INVALID_FUNCTION_ARGUMENT: SQL array indices start at 1'"
    return guarded(f"{index.sql} <> 0", f"list_extract({array.sql}, {index.sql})", message)


def subscript(array: Value, index: Value) -> str:
    """array[index], which fails if there is no such element."""
    size, number = f"len({array.sql})", index.sql
    message = (
        f"'INVALID_FUNCTION_ARGUMENT: ' || CASE WHEN {number} = 0 THEN 'SQL array indices start at 1' "
        f"WHEN {number} < 0 THEN 'Array subscript is negative: ' || {number} "
        f"ELSE 'Array subscript must be less than or equal to array length: ' || {number} || ' > ' || {size} END"
    )
    return guarded(f"{number} BETWEEN 1 AND {size}", f"list_extract({array.sql}, {number})", message)


def key(map_: Value, wanted: Value) -> str:
    """map[key], which fails if the key is missing."""
    message = f"'INVALID_FUNCTION_ARGUMENT: Key not present in map: ' || {wanted.sql}"
    return guarded(f"map_contains({map_.sql}, {wanted.sql})", f"{map_.sql}[{wanted.sql}]", message)


BACKWARDS = literal(
    "INVALID_FUNCTION_ARGUMENT: sequence stop value should be greater than or equal to start value if step is "
    "greater than zero otherwise stop should be less than or equal to start"
)


def _sequence(first: Value, last: Value, step: Value | None = None) -> str:
    size = f"abs({last.sql} - {first.sql}) // abs({step.sql if step else 1}) < 10000"
    by = step.sql if step else f"CASE WHEN {first.sql} <= {last.sql} THEN 1 ELSE -1 END"
    message = "'INVALID_FUNCTION_ARGUMENT: result of sequence function must not have more than 10000 entries'"
    sql = guarded(size, f"generate_series({first.sql}, {last.sql}, {by})", message)
    return guarded(forward(first, last, f"{step.sql} > 0"), sql, BACKWARDS) if step else sql


def forward(first: Value, last: Value, ascending: str) -> str:
    """Whether a sequence with a step leads from the first to the last value."""
    return f"CASE WHEN {ascending} THEN {last.sql} >= {first.sql} ELSE {last.sql} <= {first.sql} END"


def _slice(array: Value, start: Value, length: Value) -> str:
    first = f"CASE WHEN {start.sql} < 0 THEN len({array.sql}) + {start.sql} + 1 ELSE {start.sql} END"
    message = "'INVALID_FUNCTION_ARGUMENT: SQL array indices start at 1'"
    sql = (
        f"CASE WHEN {first} < 1 THEN [] ELSE list_slice({array.sql}, {first}, {first} + {length.sql} - 1) END"
    )
    return guarded(f"{start.sql} <> 0", sql, message)


def _reduce(array: Value, initial: Value, step: Lambda, finish: Lambda) -> str:
    kind = step.body.type.duckdb
    reduced = f"list_reduce({array.sql}, {step}, CAST({initial.sql} AS {kind}))"
    return f"list_transform([{reduced}], {finish})[1]"


def _map_from_entries(entries: Value) -> str:
    key, value = (quoted(name) for name, _ in fields(entries.type.args[0]))
    pair = f"{{'key': __e.{key}, 'value': __e.{value}}}"
    return f"map_from_entries(list_transform({entries.sql}, lambda __e: {pair}))"


def _map_filter(given: Value, keep: Lambda) -> str:
    return f"map_from_entries(list_filter(map_entries({given.sql}), lambda __e: {keep.of('__e.key', '__e.value')}))"


def _zip_with(one: Value, other: Value, join: Lambda) -> str:
    return f"list_transform(list_zip({one.sql}, {other.sql}), lambda __e: {join.of('__e[1]', '__e[2]')})"


def _transform_values(given: Value, change: Lambda) -> str:
    pair = f"{{'key': __e.key, 'value': {change.of('__e.key', '__e.value')}}}"
    return f"map_from_entries(list_transform(map_entries({given.sql}), lambda __e: {pair}))"


def _transform_keys(given: Value, change: Lambda) -> str:
    pair = f"{{'key': {change.of('__e.key', '__e.value')}, 'value': __e.value}}"
    return f"map_from_entries(list_transform(map_entries({given.sql}), lambda __e: {pair}))"


def _set(one: Value, other: Value, *, within: bool) -> str:
    """The distinct elements of one array that are, or are not, in the other."""
    kept = f"{'' if within else 'NOT '}list_contains({other.sql}, __x)"
    sql = f"list_filter({_distinct(one)}, lambda __x: {kept})"
    whole = f"len({one.sql}) = list_count({one.sql}) AND len({other.sql}) = list_count({other.sql})"
    return guarded(whole, sql, _WITH_NULL)


def _distinct(array: Value) -> str:
    return f"list_filter({array.sql}, lambda __x, __i: list_position({array.sql}, __x) = __i)"


def _union(one: Value, other: Value) -> str:
    together = Value(f"list_concat({one.sql}, {other.sql})", one.type)
    return guarded(f"len({together.sql}) = list_count({together.sql})", _distinct(together), _WITH_NULL)


def _overlap(one: Value, other: Value) -> str:
    some_null = f"len({one.sql}) > list_count({one.sql}) OR len({other.sql}) > list_count({other.sql})"
    found = f"list_has_any({one.sql}, {other.sql})"
    return f"CASE WHEN {found} THEN true WHEN {some_null} THEN NULL ELSE {found} END"


SIGNATURES = [
    *read(_TABLE.replace("ALL", _ALL).replace("ANY", _ANY).replace("NONE", _NONE)),
    special("element_at(array(T), bigint) -> T", _element_at),
    special("sequence(bigint, bigint) -> array(bigint)", _sequence),
    special("sequence(bigint, bigint, bigint) -> array(bigint)", _sequence),
    special("slice(array(T), bigint, bigint) -> array(T)", _slice),
    special("reduce(array(T), U, function(U, T, U), function(U, R)) -> R", _reduce),
    special("map_from_entries(array(row(K, V))) -> map(K, V)", _map_from_entries),
    special("map_filter(map(K, V), function(K, V, boolean)) -> map(K, V)", _map_filter),
    special("zip_with(array(T), array(U), function(T, U, R)) -> array(R)", _zip_with),
    special("transform_values(map(K, V), function(K, V, R)) -> map(K, R)", _transform_values),
    special("transform_keys(map(K, V), function(K, V, R)) -> map(R, V)", _transform_keys),
    special(
        "array_intersect(array(T), array(T)) -> array(T)", lambda one, other: _set(one, other, within=True)
    ),
    special(
        "array_except(array(T), array(T)) -> array(T)", lambda one, other: _set(one, other, within=False)
    ),
    special("array_union(array(T), array(T)) -> array(T)", _union),
    special("arrays_overlap(array(T), array(T)) -> boolean", _overlap),
]
ALIASES: dict[str, str] = {}
