"""`make install` refuses a Python that is too old, and shows why a step failed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import install
from tools.generate_docs import ROOT

TOO_OLD = "#!/bin/sh\nexit 1\n"


def _make_install(folder: Path, python: Path | str) -> subprocess.CompletedProcess[str]:
    for lock in ("requirements.lock", "package-lock.json"):
        (folder / lock).touch()
    command = ["make", "-f", str(ROOT / "Makefile"), "install", f"PYTHON={python}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - make


def _script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("python", ["too-old", ""])
def test_python_is_checked_before_an_environment_is_created(tmp_path: Path, python: str) -> None:
    path = _script(tmp_path / "too-old", TOO_OLD) if python else ""

    made = _make_install(tmp_path, path)

    message = (
        f"Python 3.11 or newer is needed, but found {path or 'none'}; run make PYTHON=/path/to/python3.11"
    )
    assert made.returncode == 2
    assert made.stderr.splitlines()[0] == message
    assert not (tmp_path / ".venv").exists()


def test_an_environment_of_an_older_python_is_replaced(tmp_path: Path) -> None:
    _script(tmp_path / ".venv/bin/python", TOO_OLD)
    # Stands in for a new Python: it passes the check, and "creates" an environment whose installer succeeds.
    new = _script(
        tmp_path / "new",
        '#!/bin/sh\n[ "$2" = venv ] || exit 0\n[ "$3" = --clear ] && cp /bin/true .venv/bin/python\n',
    )

    made = _make_install(tmp_path, new)

    assert made.returncode == 0, made.stderr
    assert (tmp_path / ".venv/installed").exists()


def test_a_failing_step_shows_its_output(capfd: pytest.CaptureFixture[str]) -> None:
    code = install.run(
        "Node packages", (sys.executable, "-c", "print('no such registry'); raise SystemExit(7)")
    )

    out, err = capfd.readouterr()
    assert code == 7
    assert out.startswith("Node packages ")
    assert out.endswith(" s  failed\n")
    assert err == "no such registry\n"


def test_a_step_that_succeeds_shows_its_time_only(capfd: pytest.CaptureFixture[str]) -> None:
    assert install.run("Python packages", (sys.executable, "-c", "print('Collecting everything')")) == 0

    out, err = capfd.readouterr()
    assert out.endswith(" s  installed\n")
    assert "Collecting" not in out + err
