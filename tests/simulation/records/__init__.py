"""What the commands measured last: JSON files, which tools/generate_docs.py shows in docs/simulation.md."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent

Row = Mapping[str, Any]


def write(name: str, rows: Sequence[Row]) -> None:
    (FOLDER / f"{name}.json").write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")


def read(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text())
    return rows
