"""Writes the tables of docs/contract.md from the schemas: `python -m tools.generate_docs`."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from functions import errors
from functions.outcome import console_url

ROOT = Path(__file__).parent.parent
CONTRACT = ROOT / "docs" / "contract.md"

_ID = "0c9231a0-de75-4736-bdfa-dd3f3de85970"
_URL = console_url("eu-west-1", _ID)
_EXAMPLES: tuple[errors.AthenaQueryError, ...] = (
    errors.InvalidInput("input.TimeoutSeconds must be integer; input must not contain {'Sql'} properties"),
    errors.InvalidRequest("line 1:1: mismatched input 'SELEKT'"),
    errors.Throttled("TooManyRequestsException: the limit of queries that run concurrently is exceeded"),
    errors.Failed(
        "COLUMN_NOT_FOUND: line 1:8: Column 'nope' cannot be resolved",
        query_id=_ID,
        state="FAILED",
        category=2,
        error_type=1006,
        attempts=1,
        console_url=_URL,
    ),
    errors.TransientFailure(
        "Query exhausted resources at this scale factor",
        query_id=_ID,
        state="FAILED",
        category=1,
        error_type=0,
        attempts=2,
        console_url=_URL,
    ),
    errors.Cancelled(
        "Query cancelled by user", query_id=_ID, state="CANCELLED", attempts=1, console_url=_URL
    ),
    errors.TimedOut(
        "The query was stopped at its deadline (TimeoutSeconds).",
        query_id=_ID,
        state="CANCELLED",
        attempts=1,
        console_url=_URL,
    ),
)


def render(text: str) -> str:
    """`text` with each `<!-- table: NAME -->` … `<!-- end -->` filled in."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{_table(match[2])}\n<!-- end -->"

    return re.sub(r"(<!-- table: (\w+) -->)\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


def _indented(document: str) -> str:
    return json.dumps(json.loads(document), indent=2)


def _table(name: str) -> str:
    if name == "causes":
        return "\n\n".join(f"```json {error.name}\n{_indented(error.cause())}\n```" for error in _EXAMPLES)
    if name == "errors":
        rows = [f"| `{one.name}` | {'yes' if one.retryable else 'no'} | {one.advice} |" for one in _EXAMPLES]
        return "\n".join(["| error | retryable | what to do |", "| --- | --- | --- |", *rows])
    schema = json.loads((ROOT / "statemachine" / f"{name}.schema.json").read_text())
    return "\n".join(["| field | type | meaning |", "| --- | --- | --- |", *_rows(schema)])


def _rows(schema: dict[str, Any], prefix: str = "") -> list[str]:
    rows = []
    for name, field in schema["properties"].items():
        required = name in schema.get("required", [])
        optional = "" if required or not schema.get("required") else ", may be absent"
        rows.append(f"| `{prefix}{name}` | {_type(field)}{optional} | {field.get('description', '')} |")
        if "properties" in field:
            rows += _rows(field, f"{prefix}{name}.")
    return rows


def _type(field: dict[str, Any]) -> str:
    """The type in words, with its bounds."""
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join("null" if one is None else f"`{one}`" for one in field["enum"])
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    words = " or ".join(kinds)
    for low, high, what in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters")):
        if low in field and high in field:
            words += f", {field[low]:,} to {field[high]:,}{what}"
        elif high in field:
            words += f", at most {field[high]:,}{what}"
    if "items" in field and field["items"].get("type") == "string":
        words += (
            f" of strings, each {field['items']['minLength']:,} to {field['items']['maxLength']:,} characters"
        )
    return words


def main() -> int:
    CONTRACT.write_text(render(CONTRACT.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
