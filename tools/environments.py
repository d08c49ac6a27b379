"""Environments of tools whose requirements conflict: .cache/NAME, installed from tools/NAME.lock.

`python -m tools.environments NAME` makes one with a Python of the Lambda runtime's version.
"""

import subprocess
import sys
from pathlib import Path

from benchmarks.cold import find_python
from benchmarks.result import Skipped

ROOT = Path(__file__).parent.parent


def environment(name: str, python_version: str = sys.executable) -> Path:
    """The folder of the programs in tools/NAME.lock, installed once for each content of the lock."""
    lock = ROOT / "tools" / f"{name}.lock"
    folder = ROOT / ".cache" / name
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


def main() -> str | None:
    try:
        environment(sys.argv[1], find_python())
    except Skipped as missing:
        return str(missing)
    return None


if __name__ == "__main__":
    sys.exit(main())
