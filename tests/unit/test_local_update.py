"""`python -m local update`: the functions of this project get the present code, and no others."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from infra.bundle import BundleError
from local import code, stack
from local.__main__ import main


class Deployed:
    """A deployed stack with three functions, one of them of CDK."""

    name = "AthenaQueries"
    handlers = {  # noqa: RUF012 - never changed
        "executor": "functions.executor.handler",
        "checker": "functions.checker.handler",
        "autodelete": "index.handler",
    }

    def __init__(self) -> None:
        self.codes: dict[str, list[str]] = {}

    def client(self, _: str) -> "Deployed":
        return self

    def get_paginator(self, operation: str) -> "Deployed":
        assert operation == "list_stack_resources"
        return self

    def paginate(self, *, StackName: str) -> list[dict[str, Any]]:  # noqa: N803 - boto3's
        assert StackName == self.name
        functions = [
            {"ResourceType": "AWS::Lambda::Function", "PhysicalResourceId": name} for name in self.handlers
        ]
        # One that is being created has no id yet.
        others = [{"ResourceType": "AWS::SQS::Queue"}, {"ResourceType": "AWS::IAM::Role"}]
        return [{"StackResourceSummaries": functions[:1] + others}, {"StackResourceSummaries": functions[1:]}]

    def get_function_configuration(self, *, FunctionName: str) -> dict[str, str]:  # noqa: N803 - boto3's
        return {"Handler": self.handlers[FunctionName]}

    def update_function_code(self, *, FunctionName: str, ZipFile: bytes) -> None:  # noqa: N803 - boto3's
        with zipfile.ZipFile(io.BytesIO(ZipFile)) as archive:
            self.codes[FunctionName] = [
                f"{name}: {archive.read(name).decode()}"
                for name in archive.namelist()
                if not name.endswith("/")
            ]


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Deployed:
    found = Deployed()
    monkeypatch.setattr(stack, "find", lambda _: found)
    return found


def test_the_functions_of_the_project_get_the_present_code(
    deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "executor.py").write_text("present")
    monkeypatch.setattr(code, "bundle", lambda _: tmp_path)

    assert main(["update"]) == 0

    content = ["functions/executor.py: present"]
    assert deployed.codes == {"executor": content, "checker": content}
    assert capsys.readouterr().out == "updated executor\nupdated checker\n"


def test_a_bundle_that_cannot_be_built_is_one_line(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Path) -> None:
        raise BundleError("pip cannot install requirements.lock")

    monkeypatch.setattr(code, "bundle", fail)

    assert main(["update"]) == 2

    assert capsys.readouterr().err == "python -m local: error: pip cannot install requirements.lock\n"
    assert deployed.codes == {}
