"""Cold start of the functions and of bare boto3 handlers that make the same calls, in instructions.

A fresh interpreter of the runtime's version imports the handler from the bundle, makes its clients and serves
its first event against a TLS server on this machine. `valgrind --tool=callgrind` counts, so a busy machine
changes nothing. What the interpreter alone takes is subtracted from both sides.
"""

import importlib.util
import json
import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

import boto3

from benchmarks.events import ANSWERS, ENVIRONMENT, EVENTS, FUNCTIONS
from benchmarks.result import Result, Skipped, Table
from benchmarks.stub import Stub, serve
from infra.bundle import PYTHON, bundle

ROOT = Path(__file__).parent.parent
WORK = ROOT / "build" / "benchmarks"
# A handler without Powertools is at 1.0.
GOAL = 0.9

# boto3 with bytecode, as in the runtime.
_SDK = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")


def measure(*, small: bool) -> Result:
    """The small version counts one function."""
    python = find_python()
    need_valgrind()
    sides = prepare(python)
    counts: list[tuple[str, int, int]] = []
    with serve(WORK / "tls") as (stub, certificates):
        environment = {"AWS_ENDPOINT_URL": stub.endpoint, "AWS_CA_BUNDLE": str(certificates)}
        alone = instructions(python, environment, [])
        for function in ("executor",) if small else FUNCTIONS:
            totals = []
            for side, (module, path) in sides.items():
                stub.expect(ANSWERS[function])
                words = [f"{module}.{function}", json.dumps(EVENTS[function]), "0"]
                totals.append(instructions(python, {**environment, "PYTHONPATH": path}, words) - alone)
                check_calls(stub, function, side)
            counts.append((function, totals[0], totals[1]))
    worst = max(ours / bare for _, ours, bare in counts)
    rows = [
        [function, round(ours / 1e6), round(bare / 1e6), round(ours / bare, 3)]
        for function, ours, bare in counts
    ]
    return Result(
        name="cold",
        tables=[
            Table(
                title=f"Cold start and first event, Python {PYTHON}, millions of instructions",
                columns=["function", "ours", "bare boto3 handler", "ratio"],
                rows=rows,
            )
        ],
        figure=f"{worst:.2f} times a bare handler",
        goal=f"at most {GOAL}",
        held=worst <= GOAL,
    )


def need_valgrind() -> None:
    """Raise Skipped if it is missing."""
    if shutil.which("valgrind") is None:
        raise Skipped("valgrind is not installed")


def find_python() -> str:
    """An interpreter of the runtime's version: on PATH, or installed by pyenv or uv. Raise Skipped."""
    home = Path.home()
    installed = [
        *sorted((home / ".pyenv" / "versions").glob(f"{PYTHON}*/bin/python{PYTHON}")),
        *sorted((home / ".local" / "share" / "uv" / "python").glob(f"cpython-{PYTHON}*/bin/python{PYTHON}")),
    ]
    for candidate in filter(None, [shutil.which(f"python{PYTHON}"), *map(str, installed)]):
        # pyenv's shim on PATH fails unless that version is enabled.
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    raise Skipped(f"Python {PYTHON} is not installed (on PATH, by pyenv, or by `uv python install {PYTHON}`)")


def prepare(python: str) -> dict[str, tuple[str, str]]:
    """Each side's package of handlers, and its PYTHONPATH: `ours` is the bundle, `bare` is boto3 alone."""
    version = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    runtime = WORK / f"runtime-{version}-boto3-{boto3.__version__}"
    if not runtime.exists():
        part = runtime.with_suffix(f".{os.getpid()}")
        part.mkdir(parents=True)
        for module in _SDK:
            spec = importlib.util.find_spec(module)
            source = Path(str(spec and spec.origin))
            if source.name == "__init__.py":
                shutil.copytree(
                    source.parent, part / source.parent.name, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(source, part)
        _compile(python, part)
        part.rename(runtime)
    bare = WORK / "bare"
    shutil.rmtree(bare, ignore_errors=True)
    shutil.copytree(
        Path(__file__).parent / "bare", bare / "bare", ignore=shutil.ignore_patterns("__pycache__")
    )
    _compile(python, bare)
    return {
        "ours": ("functions", os.pathsep.join([str(bundle(ROOT)), str(runtime)])),
        "bare": ("bare", os.pathsep.join([str(bare), str(runtime)])),
    }


def check_calls(stub: Stub, function: str, side: str) -> None:
    """Both sides must have made the same calls. Raise AssertionError."""
    expected = [operation for operation, _ in ANSWERS[function]]
    if stub.calls[: len(expected)] != expected or len(stub.calls) % len(expected):
        raise AssertionError(f"{function} ({side}) called {stub.calls}, expected {expected}")


def run_event(
    command: list[str], python: str, environment: dict[str, str], words: list[str]
) -> subprocess.CompletedProcess[str]:
    """Run first_event.py in an environment like the function's. Raise AssertionError if it fails."""
    script = Path(__file__).parent / "first_event.py"
    run = subprocess.run(
        # Without site: what is installed beside that interpreter is not part of the runtime.
        [*command, python, "-S", str(script), *words],
        env={
            **ENVIRONMENT,
            **environment,
            # The order of sets, and so the count, is the same in each run.
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(WORK),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise AssertionError(f"{' '.join(words[:1])} failed:\n{run.stderr}")
    return run


def instructions(python: str, environment: dict[str, str], words: list[str]) -> int:
    output = WORK / f"callgrind.{os.getpid()}"
    try:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}"]
        run_event(command, python, environment, words)
        found = re.search(r"^(?:summary|totals): (\d+)", output.read_text(), re.MULTILINE)
    finally:
        output.unlink(missing_ok=True)
    if found is None:
        raise AssertionError("callgrind counted nothing")
    return int(found[1])


def microseconds(python: str, environment: dict[str, str], words: list[str]) -> int:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    run_event([], python, environment, words)
    return round((resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before) * 1e6)


def _compile(python: str, folder: Path) -> None:
    command = [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder)]
    subprocess.run(command, check=True)
