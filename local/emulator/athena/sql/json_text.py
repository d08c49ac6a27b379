"""What DuckDB's JSON does not keep: the text of a number, and Trino's order of keys.

DuckDB calls these functions by their names.
"""

import json
import re
from typing import Any

import duckdb

from local.emulator.athena.sql.types import Type
from local.emulator.athena.values import text

_STEP = re.compile(r'\[(\d+)\]|\."([^"]*)"')
_DOUBLE = Type("double")


def register(db: duckdb.DuckDBPyConnection) -> None:
    db.create_function("json_number_text", number_text, ["VARCHAR", "VARCHAR"], "VARCHAR")
    db.create_function("json_sorted", sorted_keys, ["VARCHAR"], "VARCHAR")


def number_text(document: str, path: str) -> str:
    """The number at the path, as it was written. The path has the steps ."name" and [0] only."""
    found: Any = json.loads(document, parse_float=str, parse_int=str)
    for index, name in _STEP.findall(path):
        found = found[int(index)] if index else found[name]
    return str(found)


def sorted_keys(document: str) -> str:
    """The document with the keys of each object in order, and without spaces."""
    return _canonical(json.loads(document))


def _canonical(value: Any) -> str:
    match value:
        case dict():
            pairs = (
                f"{json.dumps(name, ensure_ascii=False)}:{_canonical(one)}"
                for name, one in sorted(value.items())
            )
            return "{" + ",".join(pairs) + "}"
        case list():
            return "[" + ",".join(map(_canonical, value)) + "]"
        case float():
            return text(value, _DOUBLE)
        case _:
            return json.dumps(value, ensure_ascii=False)
