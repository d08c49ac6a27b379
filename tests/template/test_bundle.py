"""The functions' bundle: complete, for Lambda's platform, and built once for the same input."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSRequest

from functions.runtime import _make_session
from infra.bundle import CALLS, PYTHON, BundleError, _compile, bundle
from tests.template.conftest import ROOT

SCHEMAS = [f"statemachine/{name}.schema.json" for name in ("input", "batch_input")]
LOCK = (ROOT / "functions" / "requirements.lock").read_text()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with this layout and no dependencies, which is not compiled."""
    monkeypatch.setattr("infra.bundle._compile", lambda _directory, _place: None)
    for name in ("functions/a.py", *SCHEMAS, "statemachine/x.asl.yaml"):
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


@pytest.mark.parametrize("name", ["input", "batch_input"])
def test_the_validator_follows_the_schema(project: Path, name: str) -> None:
    first = bundle(project)
    (project / "statemachine" / f"{name}.schema.json").write_text('{"type": "string"}\n')
    second = bundle(project)
    assert " must be string" not in (first / "functions" / f"{name}_validator.py").read_text()
    assert " must be string" in (second / "functions" / f"{name}_validator.py").read_text()
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
    handlers = (
        "functions.executor, functions.checker, functions.canceller, functions.planner, functions.reporter"
    )
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


def test_the_sdk_data_have_the_calls_that_the_functions_make() -> None:
    # Those of a batch use botocore's own data.
    modules = {*(ROOT / "functions").glob("*.py")} - {
        ROOT / "functions" / f"{name}.py" for name in ("planner", "reporter")
    }
    code = "\n".join(path.read_text() for path in modules)
    methods = {
        *re.findall(r"\b(?:athena|stepfunctions|client)\.(\w+)", code),
        *re.findall(r"get_paginator\(\"(\w+)\"\)", code),
    }
    for service, calls in CALLS.items():
        # The stubs of boto3 know each service by its literal name only.
        client = boto3.client(service, region_name="us-east-1")  # type: ignore[call-overload]
        made = {call for method, call in client.meta.method_to_api_mapping.items() if method in methods}
        assert made == calls


_CALLS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "athena": ("stop_query_execution", {"QueryExecutionId": "id"}),
    "dynamodb": ("get_item", {"TableName": "tasks", "Key": {"Id": {"S": "id"}}}),
    "stepfunctions": ("describe_execution", {"executionArn": "arn"}),
}


def test_endpoints_are_those_of_all_endpoint_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """In two Regions of each partition, and in one that botocore does not know."""
    data = bundle(ROOT) / "functions" / "sdk_data"
    partitions = json.loads((data / "endpoints.json").read_text())["partitions"]
    regions = {region for one in partitions for region in sorted(one["regions"])[:: max(1, len(one) - 1)]}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setattr("functions.runtime._SDK_DATA", data)
    for region in [*sorted(regions), "xx-new-1"]:
        for service in _CALLS:
            ours = _endpoint(_make_session(region), service)
            assert ours == _endpoint(boto3.Session(region_name=region), service)


@pytest.mark.parametrize("variable", ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
def test_other_endpoints_are_those_of_all_endpoint_data(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv(variable, "true")
    monkeypatch.setattr("functions.runtime._SDK_DATA", bundle(ROOT) / "functions" / "sdk_data")
    for service in _CALLS:
        for region in ("us-east-1", "us-gov-west-1"):
            ours = _endpoint(_make_session(region), service)
            assert ours == _endpoint(boto3.Session(region_name=region), service)


class _Sent(Exception):
    """Holds the URL of a request, and the Region and service that it is signed for. Nothing is sent."""


def _endpoint(session: boto3.Session, service: str) -> tuple[str, ...]:
    def intercept(request: AWSRequest, **_: Any) -> None:
        scope = re.search(r"Credential=test/\d+/([^,]+)", str(request.headers["Authorization"]))
        assert scope
        raise _Sent(request.url, scope[1])

    # The stubs of boto3 know each service by its literal name only.
    client = session.client(service)  # type: ignore[call-overload]
    client.meta.events.register("before-send", intercept)
    operation, arguments = _CALLS[service]
    with pytest.raises(_Sent) as sent:
        getattr(client, operation)(**arguments)
    return sent.value.args
