"""The functions' bundle: complete, for Lambda's platform, and built once for the same input."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.bundle import PYTHON, BundleError, _compile, bundle
from tests.template.conftest import ROOT

LOCK = (ROOT / "functions" / "requirements.lock").read_text()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with this layout and no dependencies, which is not compiled."""
    monkeypatch.setattr("infra.bundle._compile", lambda _directory, _place: None)
    for name in ("functions/a.py", "statemachine/input.schema.json", "statemachine/x.asl.yaml"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("{}\n")
    (tmp_path / "functions" / "requirements.lock").write_text("# nothing\n")
    return tmp_path


def test_the_same_input_is_built_once(project: Path) -> None:
    first = bundle(project)
    (first / "mark").touch()
    assert bundle(project) == first
    assert (first / "mark").exists()


@pytest.mark.parametrize("name", ["functions/a.py", "functions/b.py"])
def test_a_changed_input_is_built_again(project: Path, name: str) -> None:
    first = bundle(project)
    (project / name).write_text("2\n")
    second = bundle(project)
    assert second != first
    assert (second / name).read_text() == "2\n"


def test_the_validator_follows_the_schema(project: Path) -> None:
    first = bundle(project)
    (project / "statemachine" / "input.schema.json").write_text('{"type": "string"}\n')
    second = bundle(project)
    assert " must be string" not in (first / "functions" / "input_validator.py").read_text()
    assert " must be string" in (second / "functions" / "input_validator.py").read_text()
    assert not (second / "statemachine").exists()


def test_a_changed_document_does_not_change_the_functions(project: Path) -> None:
    first = bundle(project)
    (project / "statemachine" / "x.asl.yaml").write_text("2\n")
    assert bundle(project) == first
    assert not (first / "statemachine" / "x.asl.yaml").exists()


def test_a_failed_build_reports_one_line_and_leaves_nothing(project: Path) -> None:
    (project / "functions" / "requirements.lock").write_text("no-hash-here==1.0\n")
    with pytest.raises(BundleError, match=r"^pip cannot install requirements.lock .*\bERROR: [^\n]+$"):
        bundle(project)
    assert list((project / "build").iterdir()) == []


def test_every_module_has_bytecode_of_the_runtime() -> None:
    built = bundle(ROOT)
    # PEP 552: 3.13's magic number, and the flag of a hash that is never compared with the source.
    header = (3571).to_bytes(2, "little") + b"\r\n\x01\0\0\0"
    for source in built.rglob("*.py"):
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-{PYTHON.replace('.', '')}.pyc"
        assert compiled.read_bytes().startswith(header), source


def test_a_compiler_of_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("1\n")
    monkeypatch.setattr("infra.bundle.PYTHON", "3.12")
    with pytest.raises(BundleError, match=r"^the functions cannot be compiled for Python 3\.12: 3\.13$"):
        _compile(tmp_path, "/var/task")


def test_lambda_can_read_it_under_any_umask(project: Path) -> None:
    before = os.umask(0o077)
    try:
        built = bundle(project)
    finally:
        os.umask(before)
    for path in built.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def test_the_lock_has_hashes_and_no_addresses() -> None:
    assert "://" not in LOCK
    assert "--index-url" not in LOCK
    pins = [line for line in LOCK.splitlines() if "==" in line]
    assert pins
    assert all(line.endswith("\\") for line in pins), "each is followed by its hashes"


def test_the_bundle_contains_everything_that_the_handlers_import(tmp_path: Path) -> None:
    built = tmp_path / "task"
    # A copy: importing writes bytecode.
    shutil.copytree(bundle(ROOT), built)
    assert not list(built.glob("boto*")), "the runtime provides it"
    assert list(built.glob("*.dist-info/METADATA"))
    assert not list(built.rglob("*.so")), "compiled for one platform, while the tests run on another"
    handlers = "functions.executor, functions.checker, functions.canceller"
    probe = f"import {handlers}, aws_lambda_powertools as library; print(library.__file__)"
    run = subprocess.run(  # noqa: S603
        [sys.executable, "-c", probe],
        cwd=built,
        env={**os.environ, "PYTHONPATH": str(built), "POWERTOOLS_METRICS_NAMESPACE": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(built))
