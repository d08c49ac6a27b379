"""The duration of the tests is recorded after a complete run only."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import duration

COMPLETE = pytest.Config.ArgsSource.TESTPATHS


def session(*, args_source: Any = COMPLETE, keyword: str = "", processes: int = 2) -> Any:
    option = SimpleNamespace(keyword=keyword, tx=["popen"] * processes)
    return SimpleNamespace(config=SimpleNamespace(option=option, args_source=args_source), testscollected=7)


@pytest.fixture(autouse=True)
def record_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "build" / "last.json"
    monkeypatch.setattr(duration, "FILE", file)
    return file


def test_a_complete_run_is_recorded() -> None:
    duration.Duration().pytest_sessionfinish(session(), 0)
    last = duration.read_last_run()
    assert last
    assert (last.tests, last.processes) == (7, 2)


@pytest.mark.parametrize(
    ("incomplete", "exit_status"),
    [
        (session(args_source=pytest.Config.ArgsSource.ARGS), 0),
        (session(keyword="scale"), 0),
        (session(), 1),
    ],
)
def test_any_other_run_is_not(incomplete: Any, exit_status: int) -> None:
    duration.Duration().pytest_sessionfinish(incomplete, exit_status)
    assert duration.read_last_run() is None
