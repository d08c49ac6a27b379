"""Size of the functions' deployment package with its bytecode, and the modules that no function imports."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from benchmarks.events import ENVIRONMENT, FUNCTIONS
from benchmarks.result import Result, Table
from infra.bundle import bundle

ROOT = Path(__file__).parent.parent
GOAL_MIB = 2.2

_PROBE = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(f"functions.{name}")
print("\\n".join(filter(None, (getattr(module, "__file__", None) for module in sys.modules.values()))))
"""


_BATCH_FUNCTIONS = ("planner", "reporter")


def measure(*, small: bool) -> Result:
    """The small version is the whole."""
    del small
    folder = bundle(ROOT)
    idle = unused(folder)
    size = _zipped(folder) / 1024**2
    parts: dict[str, list[int]] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            part = parts.setdefault(path.relative_to(folder).parts[0], [0, 0])
            part[0] += 1
            part[1] += path.stat().st_size
    rows = [[name, files, round(octets / 1024)] for name, (files, octets) in sorted(parts.items())]
    tables = [Table(title="Files of the package, unpacked", columns=["part", "files", "KiB"], rows=rows)]
    if idle:
        names = [[name] for name in idle]
        tables.append(Table(title="Modules that no function imports", columns=["module"], rows=names))
    return Result(
        name="package",
        tables=tables,
        figure=f"{size:.2f} MiB zipped, {len(idle)} unused modules",
        goal=f"under {GOAL_MIB} MiB, none unused",
        held=size < GOAL_MIB and not idle,
    )


def unused(folder: Path) -> list[str]:
    """The modules in the package that no function imports."""
    # Under the same names, and without bytecode of this Python in the package.
    run = subprocess.run(
        [sys.executable, "-c", _PROBE, *FUNCTIONS, *_BATCH_FUNCTIONS],
        env={**ENVIRONMENT, "PATH": os.defpath, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {Path(line) for line in run.stdout.splitlines()}
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.py") if path not in imported)


def _zipped(folder: Path) -> int:
    """Size of the uploaded package in bytes."""
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder))
        return file.tell()
