"""External checks: three packs of cdk-nag, and cfn-lint; and that synthesis is repeatable."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack, Validations
from aws_cdk import aws_iam as iam

from tests.template.conftest import Synthesize
from tests.template.reading import Template
from tools.template_checks import BROUGHT, OWN, acknowledgements, findings, lint_errors

CONTEXTS = {
    "defaults": {},
    "everything": OWN,
    "local": {**OWN, "synthesizer": "cli-credentials", "patienceSeconds": "5"},
    "federated": {
        "lakeFormation": "true",
        "federatedCatalogs": "redis",
        "connectorFunctions": "arn:aws:lambda:eu-west-1:123456789012:function:connector",
        "spillPrefixes": "spill/",
    },
    "brought": BROUGHT,
    "managed results": {"managedResults": "true"},
    "tables": {"readTables": "a.b,c.d", "writeTables": "a.c"},
    "odd names": {
        "stackName": "A-1",
        "defaultCatalog": "lake@x",
        "readDatabases": "a-b,c_d,e",
        "readPrefixes": "b.c-d/,b.c-d/x+y/z/",
        "writePrefixes": "b.c-d/x=1/",
    },
}


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS.keys())
def test_cdk_nag_finds_nothing(synthesize: Synthesize, context: dict[str, Any]) -> None:
    app, _ = synthesize(context)
    assert findings(app) == []


def test_cdk_nag_reports_a_wildcard() -> None:
    app = App()
    role = iam.Role(Stack(app, "Wildcard"), "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    role.add_to_policy(iam.PolicyStatement(actions=["athena:GetQueryExecution"], resources=["*"]))
    assert [finding for finding in findings(app) if "IAM5[Resource::*]" in finding]


@pytest.mark.parametrize("context", [OWN, BROUGHT], ids=["own", "brought"])
def test_each_acknowledgement_covers_a_finding_of_its_own_construct(
    synthesize: Synthesize, monkeypatch: pytest.MonkeyPatch, context: dict[str, Any]
) -> None:
    app, _ = synthesize(context)
    acknowledged = {f"{rule} at {path}/" for path, rule in acknowledgements(app)}
    monkeypatch.setattr(Validations, "acknowledge", lambda *_: None)
    unfiltered, _ = synthesize(context)
    found = findings(unfiltered)
    assert acknowledged
    for one in acknowledged:
        assert [finding for finding in found if finding.startswith(one)], f"{one} is not needed"
    for finding in found:
        assert [one for one in acknowledged if finding.startswith(one)], finding


@pytest.mark.parametrize("context", [OWN, BROUGHT], ids=["own", "brought"])
def test_cfn_lint_finds_no_error(synthesize: Synthesize, context: dict[str, Any], tmp_path: Path) -> None:
    _, template = synthesize(context)
    assert lint_errors(template.body, tmp_path / "template.json") == []


def test_the_only_ignored_cfn_lint_check_is_the_type_of_numbers(template: Template, tmp_path: Path) -> None:
    body = json.loads(json.dumps(template.body).replace("${Partition}", "aws"))
    ignored = [
        resource["Metadata"].pop("cfn-lint", {})
        for resource in body["Resources"].values()
        if "Metadata" in resource
    ]
    assert [one for one in ignored if one] == 2 * [{"config": {"ignore_checks": ["E3601"]}}]
    for error in lint_errors(body, tmp_path / "template.json"):
        field = r"(TimeoutSeconds|MaxConcurrency|ToleratedFailureCount)"
        assert re.fullmatch(rf"E3601 .*is not of type '\w+' at 'States/[^/]+/{field}'", error), error


def test_the_same_input_produces_the_same_template(template: Template, synthesize: Synthesize) -> None:
    shuffled = dict(
        reversed([*OWN.items()]), readPrefixes="other-data/,sample-data/weather/,sample-data/flights/"
    )
    assert synthesize(shuffled)[1].body == template.body
