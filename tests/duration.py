"""The last complete run of the tests on this machine, for benchmarks/local.py.

A run is complete if it was not restricted to some tests and all of them passed.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

FILE = Path(__file__).parent.parent / "build" / "last-test-run.json"


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """`processes` is 1 without pytest-xdist; `load` is the load average at the end."""

    date: str
    seconds: float
    tests: int
    processes: int
    load: float


class Duration:
    """A plugin that writes FILE at the end of a complete run."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        options = session.config.option
        restricted = session.config.args_source is not pytest.Config.ArgsSource.TESTPATHS
        if hasattr(session.config, "workerinput") or restricted or options.keyword or exitstatus:
            return
        run = LastRun(
            date=datetime.now(UTC).strftime("%Y-%m-%d"),
            seconds=time.monotonic() - self._began,
            tests=session.testscollected,
            processes=len(getattr(options, "tx", None) or [None]),
            load=os.getloadavg()[0],
        )
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(json.dumps(asdict(run)))


def read_last_run() -> LastRun | None:
    """None if there was none."""
    return LastRun(**json.loads(FILE.read_text())) if FILE.exists() else None
