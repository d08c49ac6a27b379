"""Functions for JSON. A path has to be a literal with the steps .name, [0] and ["name"] only."""

import re

from local.emulator.athena.errors import not_supported
from local.emulator.athena.sql.signatures import read, special
from local.emulator.athena.sql.values import Value, literal

_TABLE = """
json_parse(varchar) -> json = json(json_sorted(CAST(json($0) AS VARCHAR)))
json_format(json) -> varchar = CAST($0 AS VARCHAR)
json_array_length(json) -> bigint = CASE WHEN json_type($0) = 'ARRAY' THEN CAST(json_array_length($0) AS BIGINT) END
json_array_length(varchar) -> bigint = CASE WHEN json_valid($0) AND json_type($0) = 'ARRAY' THEN CAST(json_array_length($0) AS BIGINT) END
json_array_get(json, bigint) -> json = CASE WHEN json_type($0) = 'ARRAY' THEN json_extract($0, $1) END
json_array_get(varchar, bigint) -> json = CASE WHEN json_valid($0) AND json_type($0) = 'ARRAY' THEN json_extract($0, $1) END
is_json_scalar(json) -> boolean = json_type($0) NOT IN ('ARRAY', 'OBJECT')
is_json_scalar(varchar) -> boolean = json_type($0) NOT IN ('ARRAY', 'OBJECT')
"""
_STEP = re.compile(r"""\.([A-Za-z_]\w*)|\[(\d+)\]|\["([^"\\]*)"\]|\['([^'\\]*)'\]""")


def path(given: Value) -> str:
    """Convert a path of Trino to a literal for DuckDB."""
    text = given.text
    if (
        text is None
        or not text.startswith("$")
        or "".join(one[0] for one in _STEP.finditer(text)) != text[1:]
    ):
        raise not_supported(f"the JSON path {text or 'that is not a literal'}")
    steps = []
    for name, index, quoted, single in _STEP.findall(text):
        steps.append(f"[{index}]" if index else f'."{name or quoted or single}"')
    return literal("$" + "".join(steps))


def _extract(json: Value, place: Value) -> str:
    return f"CASE WHEN json_valid({json.sql}) THEN json_extract({json.sql}, {path(place)}) END"


def _extract_scalar(json: Value, place: Value) -> str:
    """NULL for arrays, objects and null. DuckDB would write 1.50 as 1.5."""
    found = f"json_extract({json.sql}, {path(place)})"
    kind = f"json_type({found})"
    return (
        f"CASE WHEN NOT json_valid({json.sql}) OR {kind} IN ('ARRAY', 'OBJECT', 'NULL') THEN NULL "
        f"WHEN {kind} = 'DOUBLE' THEN json_number_text(CAST({json.sql} AS VARCHAR), {path(place)}) "
        f"ELSE json_extract_string({json.sql}, {path(place)}) END"
    )


def _array_contains(json: Value, value: Value) -> str:
    if value.type.name not in {"varchar", "bigint", "boolean"}:
        raise not_supported(f"json_array_contains of {value.type}")
    items = f"json_extract({json.sql}, '$[*]')"
    same = f"len(list_filter({items}, lambda __x: __x = to_json({value.sql}))) > 0"
    return f"CASE WHEN json_valid({json.sql}) AND json_type({json.sql}) = 'ARRAY' THEN {same} END"


def _size(json: Value, place: Value) -> str:
    found = f"json_extract({json.sql}, {path(place)})"
    return (
        f"CASE json_type({found}) WHEN 'ARRAY' THEN CAST(json_array_length({found}) AS BIGINT) "
        f"WHEN 'OBJECT' THEN CAST(len(json_keys({found})) AS BIGINT) WHEN NULL THEN NULL ELSE 0 END"
    )


SIGNATURES = [
    *read(_TABLE),
    *(special(f"json_extract({kind}, varchar) -> json", _extract) for kind in ("json", "varchar")),
    *(
        special(f"json_extract_scalar({kind}, varchar) -> varchar", _extract_scalar)
        for kind in ("json", "varchar")
    ),
    *(
        special(f"json_array_contains({kind}, {value}) -> boolean", _array_contains)
        for kind in ("json", "varchar")
        for value in ("varchar", "bigint", "boolean", "double")
    ),
    *(special(f"json_size({kind}, varchar) -> bigint", _size) for kind in ("json", "varchar")),
]
