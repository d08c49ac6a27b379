"""The local loop: the demo, a changed function, and the tests.

The demo runs in a folder of its own, so that its first run synthesizes and prepares everything, as it does
after `make install`. `make test` takes minutes, so the last complete run on this machine is shown.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.result import Result, Table
from local import code, stack
from local.environment import process_environment
from ops.execution import follow, start
from tests.duration import read_last_run

ROOT = Path(__file__).parent.parent
GOAL_DEMO_SECONDS = 12
GOAL_UPDATE_SECONDS = 5
GOAL_TESTS_SECONDS = 360

# A changed function reports another number of scanned bytes.
_CODE = "scanned_bytes=statistics.get("
_CHANGED = "scanned_bytes=12_345 + statistics.get("
_MARK = 12_345


@dataclass(frozen=True, kw_only=True)
class Step:
    """`seconds` is None where it was not measured; without a `goal` it is shown only."""

    name: str
    seconds: float | None
    goal: float | None = None

    @property
    def held(self) -> bool:
        return self.goal is None or (self.seconds is not None and self.seconds <= self.goal)

    def row(self) -> list[str | float]:
        return [
            self.name,
            "not run" if self.seconds is None else f"{self.seconds:.1f}",
            "" if self.goal is None else f"{self.goal:g}",
            "" if self.goal is None else "held" if self.held else "missed",
        ]


def measure(*, small: bool) -> Result:
    """The small version leaves out the demo and the tests."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        steps = _update(stack.HOME) if small else [*_demo(home), *_update(home), _tests()]
    missed = [step.name for step in steps if not step.held]
    return Result(
        name="local",
        tables=[
            Table(
                title=f"The local loop, {os.cpu_count()} cores, load average before {load:.1f}",
                columns=["step", "seconds", "goal", "result"],
                rows=[step.row() for step in steps],
            )
        ],
        figure=f"missed: {', '.join(missed)}" if missed else "each step within its goal",
        goal=(
            f"demo {GOAL_DEMO_SECONDS} s, changed function {GOAL_UPDATE_SECONDS} s, "
            f"tests {GOAL_TESTS_SECONDS} s"
        ),
        held=not missed,
    )


def _demo(home: Path) -> list[Step]:
    """Run the demo twice in `home`: until its first result, and until its end."""
    first, whole = _run_demo(home)
    again, _ = _run_demo(home)
    return [
        Step(name="demo, first run: first result", seconds=first, goal=GOAL_DEMO_SECONDS),
        Step(name="demo, first run: all results", seconds=whole),
        Step(name="demo, later run: first result", seconds=again, goal=GOAL_DEMO_SECONDS),
    ]


def _run_demo(home: Path) -> tuple[float, float]:
    began = time.monotonic()
    first = None
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "local", "--home", str(home), "demo"],
        cwd=ROOT,
        env=process_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as demo:
        for line in demo.stdout or ():
            if first is None and "SUCCEEDED" in line:
                first = time.monotonic() - began
    whole = time.monotonic() - began
    if first is None or demo.returncode:
        raise AssertionError(f"the demo failed with exit code {demo.returncode}")
    return first, whole


def _update(home: Path) -> list[Step]:
    """Change a function in a copy of the project, deploy it, and run it, on a stack with the original."""
    with tempfile.TemporaryDirectory() as folder, stack.temporary(home) as started:
        copy = Path(folder)
        for name in ("functions", "statemachine"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        # Dependencies are bundled once for all versions of the functions.
        (copy / "build").symlink_to(ROOT / "build")
        changed = copy / "functions" / "queries.py"
        changed.write_text(changed.read_text().replace(_CODE, _CHANGED))
        began = time.monotonic()
        code.update(started, copy)
        deployed = time.monotonic() - began
        stepfunctions = started.client("stepfunctions")
        arn = start(stepfunctions, started.outputs["StateMachineArn"], {"QueryString": "SELECT 1"})
        output = follow(stepfunctions, arn).output
        ran = time.monotonic() - began
    if output is None or output["Statistics"]["DataScannedInBytes"] < _MARK:
        raise AssertionError(f"the changed function did not run: {json.dumps(output)}")
    return [
        Step(name="changed function: deployed", seconds=deployed, goal=GOAL_UPDATE_SECONDS),
        Step(name="changed function: deployed and run by an execution", seconds=ran),
    ]


def _tests() -> Step:
    last = read_last_run()
    name = f"make test: {last.tests:,} tests on {last.date}, load {last.load:.1f}" if last else "make test"
    return Step(name=name, seconds=last.seconds if last else None, goal=GOAL_TESTS_SECONDS)
