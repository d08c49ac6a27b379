"""The result of a benchmark: tables, a figure, and the goal that it is compared with."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Numbers below this are shown with three decimals.
_DECIMALS_BELOW = 10

RESULTS = Path(__file__).parent / "results"


class Skipped(Exception):
    """The benchmark cannot run on this machine. Its text names what is missing."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """`rows` hold text, or numbers, which are shown as they are."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def text(self) -> str:
        """Columns aligned, numbers to the right, as Markdown."""
        cells = [[_shown(cell) for cell in row] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(self.columns, *cells, strict=True)]
        numeric = [all(isinstance(row[n], int | float) for row in self.rows) for n in range(len(widths))]
        lines = [
            [
                name.rjust(width) if right else name.ljust(width)
                for name, width, right in zip(row, widths, numeric, strict=True)
            ]
            for row in [list(self.columns), *cells]
        ]
        rule = [
            "-" * (width - 1) + ":" if right else "-" * width
            for width, right in zip(widths, numeric, strict=True)
        ]
        return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


@dataclass(frozen=True, kw_only=True)
class Result:
    """`figure` and `goal` are text with their unit; `held` is the comparison of the two."""

    name: str
    tables: Sequence[Table]
    figure: str
    goal: str
    held: bool

    def text(self) -> str:
        """The tables, and the last line of a benchmark."""
        tables = [f"{table.title}\n\n{table.text()}\n" for table in self.tables]
        return "\n".join([*tables, self.verdict()])

    def verdict(self) -> str:
        return f"{self.name}: {self.figure} (goal {self.goal}): {'held' if self.held else 'missed'}"

    def write(self, folder: Path = RESULTS) -> None:
        """Write it to `folder`/NAME.json, the source of docs/performance.md."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, name: str, folder: Path = RESULTS) -> "Result":
        document = json.loads((folder / f"{name}.json").read_text())
        return cls(**{**document, "tables": [Table(**table) for table in document["tables"]]})


def _shown(cell: Any) -> str:
    if isinstance(cell, float):
        return f"{cell:,.3f}" if abs(cell) < _DECIMALS_BELOW else f"{cell:,.1f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
