"""Writes the tables of docs/contract.md from the schemas: `python -m docs.generate`."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from functions import errors

ROOT = Path(__file__).parent.parent
CONTRACT = ROOT / "docs" / "contract.md"


def render(text: str) -> str:
    """`text` with each `<!-- table: NAME -->` … `<!-- end -->` filled in."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{_table(match[2])}\n<!-- end -->"

    return re.sub(r"(<!-- table: (\w+) -->)\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


def _table(name: str) -> str:
    if name == "errors":
        kinds = [one for one in errors.AthenaQueryError.__subclasses__() if one is not errors.RunAgain]
        rows = [
            f"| `AthenaQuery.{one.__name__}` | {'yes' if one.retryable else 'no'} | {one.advice} |"
            for one in kinds
        ]
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
