"""The template and the zip for deployments without CDK."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint_file  # type: ignore[import-untyped]
from cfnlint.config import ManualArgs  # type: ignore[import-untyped]

from infra import template as plain
from infra.settings import Settings
from tests.end_to_end import release
from tests.template.reading import Json, Template
from tools.template_checks import OWN


@pytest.fixture(scope="module")
def written(code: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    plain.write(folder, Settings.from_context(OWN), code)
    return folder


@pytest.fixture(scope="module")
def body(written: Path) -> Json:
    body: Json = json.loads((written / plain.TEMPLATE).read_text())
    return body


def resources(template: Json) -> dict[str, Any]:
    """The resources without the place of the functions' code, and without CDK's own metadata."""
    found = json.loads(json.dumps(template["Resources"]))
    for resource in found.values():
        resource["Properties"].pop("Code", None)
        resource.get("Metadata", {}).pop("aws:asset:path", None)
        resource.get("Metadata", {}).pop("aws:asset:property", None)
        resource.get("Metadata", {}).pop("aws:asset:is-bundled", None)
        if not resource.get("Metadata", True):
            del resource["Metadata"]
    return dict(found)


def test_it_has_the_resources_of_the_cdk_app(body: Json, template: Template) -> None:
    assert resources(body) == resources(template.body)


def test_it_needs_no_bootstrapped_environment(body: Json) -> None:
    assert set(body["Parameters"]) == {"CodeBucket", "CodeKey"}
    assert "Rules" not in body
    assert not re.search(r"cdk-[a-z0-9]+-|/cdk-bootstrap/", json.dumps(body))


def test_the_document_names_the_service_of_every_resource(body: Json) -> None:
    # Where the name in a resource's type is not the service's own.
    names = {
        "Events": "EventBridge",
        "Logs": "CloudWatch Logs",
        "SSM": "Systems Manager",
        "StepFunctions": "Step Functions",
    }
    services = {resource["Type"].split("::")[1] for resource in body["Resources"].values()}
    document = " ".join((plain.ROOT / "docs" / "deploying.md").read_text().split())
    listed = re.search(r"creates resources of ([^.]+)\. It also", document)
    assert listed
    assert set(re.split(", | and ", listed[1])) == {names.get(one, one) for one in services}


def test_every_function_has_its_code_from_the_parameters(body: Json) -> None:
    functions = [one for one in body["Resources"].values() if one["Type"] == "AWS::Lambda::Function"]
    assert len(functions) == 5
    for function in functions:
        assert function["Properties"]["Code"] == {
            "S3Bucket": {"Ref": "CodeBucket"},
            "S3Key": {"Ref": "CodeKey"},
        }


def test_cfn_lint_finds_no_error(written: Path) -> None:
    matches = lint_file(written / plain.TEMPLATE, config=ManualArgs(regions=["us-east-1"]))
    assert [match.message for match in matches if match.rule.id.startswith("E")] == []


def test_cloudformation_accepts_its_size(written: Path) -> None:
    # CloudFormation user guide, "Understand CloudFormation quotas": a template in S3.
    assert (written / plain.TEMPLATE).stat().st_size <= 1_000_000


def test_the_same_code_makes_the_same_archive(written: Path, code: Path, tmp_path: Path) -> None:
    plain.write(tmp_path, Settings.from_context(OWN), code)
    assert (tmp_path / plain.ARCHIVE).read_bytes() == (written / plain.ARCHIVE).read_bytes()
    with zipfile.ZipFile(tmp_path / plain.ARCHIVE) as archive:
        assert archive.namelist() == ["stub.py"]
        assert archive.getinfo("stub.py").external_attr >> 16 == 0o644, "Lambda's user can read it"


def test_settings_in_cdk_json_apply_unless_the_command_line_sets_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plain, "ROOT", tmp_path)
    (tmp_path / "cdk.json").write_text('{"context": {"pollSeconds": "often"}}')
    for arguments, value in (([], "often"), (["-c", "pollSeconds=never"], "never")):
        assert plain.main(arguments) == 1
        assert capsys.readouterr().err.startswith(f'setting pollSeconds is "{value}"; ')


def test_a_wrong_setting_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert plain.main(["-c", "pollSeconds=often"]) == 1
    assert capsys.readouterr().err == (
        'setting pollSeconds is "often"; it must be a whole number from 1 to 3600\n'
    )


def test_the_recorded_release_is_replaced_only_without_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "write", lambda folder: pytest.fail(f"{folder} was written"))
    for words in (["--help"], ["--recrod"]):
        with pytest.raises(SystemExit):
            release.main(words)
    assert "Record the working copy" in capsys.readouterr().out
