"""Environments of tools and clients whose requirements conflict: .cache/NAME, installed from tools/NAME.lock.
The one of the name "node" has the packages of examples/programs/package-lock.json.

`python -m tools.environments NAME…` creates them and reports the time that each takes.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.cold import find_python
from benchmarks.result import Skipped
from tools.install import NPM

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache"
# Need a Python of the Lambda runtime's version; the others use the project's.
_NEWEST_PYTHON = {"engines"}


def environment(name: str, python_version: str = sys.executable) -> Path:
    """The folder of the programs in tools/NAME.lock, installed once for each content of the lock."""
    lock = ROOT / "tools" / f"{name}.lock"
    folder = CACHE / name
    installed = folder / "installed"
    if not installed.exists() or installed.read_text() != lock.read_text():
        uv = str(Path(sys.executable).with_name("uv"))
        python = str(folder / "bin" / "python")
        subprocess.run(
            [uv, "venv", "--quiet", "--clear", "--python", python_version, str(folder)], check=True
        )
        install = ["pip", "install", "--quiet", "--require-hashes", "--python", python, "--requirement"]
        subprocess.run([uv, *install, str(lock)], check=True)
        installed.write_text(lock.read_text())
    return folder / "bin"


def node_environment() -> None:
    """Install the packages of examples/programs, once for each content of the lock."""
    source, folder = ROOT / "examples" / "programs", CACHE / "node"
    installed = folder / "installed"
    lock = (source / "package-lock.json").read_text()
    if not installed.exists() or installed.read_text() != lock:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder)
        subprocess.run([*NPM, "ci", "--loglevel=error"], cwd=folder, check=True)
        installed.write_text(lock)


def main() -> str | None:
    for name in sys.argv[1:]:
        started = time.monotonic()
        try:
            if name == "node":
                node_environment()
            else:
                environment(name, find_python() if name in _NEWEST_PYTHON else sys.executable)
        except Skipped as missing:
            return str(missing)
        except subprocess.CalledProcessError:
            return f"{name} was not installed: the reason is above"
        print(f"{name:<16} {time.monotonic() - started:4.0f} s  installed", flush=True)
    return None


if __name__ == "__main__":
    sys.exit(main())
