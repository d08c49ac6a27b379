"""Each benchmark runs, in its small version. Times are not asserted, since machines are busy; counts are."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES, run
from benchmarks.package import unused
from benchmarks.result import Result, Skipped, Table

# What these count does not depend on the machine's load.
_COUNTED = ("package", "work", "cost", "cold", "batch")


@pytest.mark.parametrize("name", NAMES)
def test_runs(name: str) -> None:
    try:
        result = run(name, small=True)
    except Skipped as reason:
        pytest.skip(str(reason))
    assert result.name == name
    assert result.tables
    assert all(table.rows for table in result.tables)
    assert result.text().splitlines()[-1].startswith(f"{name}: ")
    assert result.held or name not in _COUNTED


def test_a_missed_goal_is_reported(tmp_path: Path) -> None:
    table = Table(title="Title", columns=["what", "count"], rows=[["a", 1], ["bcd", 1_000]])
    missed = Result(name="x", tables=[table], figure="2 s", goal="1 s", held=False)
    assert missed.text() == (
        "Title\n\n| what | count |\n| ---- | ----: |\n| a    |     1 |\n| bcd  | 1,000 |\n\n"
        "x: 2 s (goal 1 s): missed"
    )
    missed.write(tmp_path)
    assert json.loads((tmp_path / "x.json").read_text())["held"] is False
    assert Result.read("x", tmp_path).text() == missed.text()


def test_an_unused_module_is_found(tmp_path: Path) -> None:
    (tmp_path / "functions").mkdir()
    for name in ("__init__", "executor", "checker", "canceller", "planner", "reporter", "idle"):
        (tmp_path / "functions" / f"{name}.py").touch()
    assert unused(tmp_path) == ["functions/idle.py"]
