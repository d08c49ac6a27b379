"""The checks of others: cdk-nag's AwsSolutions pack, cfn-lint; and that synthesis is repeatable."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack, Validations
from aws_cdk import aws_iam as iam
from cdk_nag import AwsSolutionsChecks
from cfnlint.api import lint_file  # type: ignore[import-untyped]
from cfnlint.config import ManualArgs  # type: ignore[import-untyped]
from constructs import IConstruct

from tests.template.conftest import CONTEXT, Synthesize
from tests.template.reading import Json, Template

CONTEXTS = {
    "defaults": {},
    "everything": CONTEXT,
    "local": {**CONTEXT, "synthesizer": "cli-credentials", "patienceSeconds": "5"},
    "odd names": {
        "stackName": "A-1",
        "defaultCatalog": "lake@x",
        "readDatabases": "a-b,c_d,e",
        "readPrefixes": "b.c-d/,b.c-d/x+y/z/",
        "writePrefixes": "b.c-d/x=1/",
    },
}


def findings(app: App) -> list[str]:
    report = AwsSolutionsChecks(app).validate_scope(app)
    return [
        f"{violation.rule_name} at {resource.construct_path}"
        for violation in report.violations
        for resource in violation.violating_resources
    ]


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS.keys())
def test_cdk_nag_finds_nothing(synthesize: Synthesize, context: dict[str, Any]) -> None:
    app, _ = synthesize(context)
    assert findings(app) == []


def test_cdk_nag_would_find_a_role_that_may_do_everything() -> None:
    app = App()
    role = iam.Role(Stack(app, "Careless"), "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    role.add_to_policy(iam.PolicyStatement(actions=["athena:GetQueryExecution"], resources=["*"]))
    assert [finding for finding in findings(app) if "IAM5[Resource::*]" in finding]


def test_what_cdk_nag_may_overlook_is_said_where_it_is_and_why(
    app_and_template: tuple[App, Template],
) -> None:
    app, _ = app_and_template
    said = []

    def visit(construct: IConstruct) -> None:
        for entry in construct.node.metadata:
            if entry.type == Validations.ACKNOWLEDGED_RULES_METADATA_KEY:
                said.append(construct.node.path)
                assert not isinstance(construct, App | Stack), "an acknowledgement for everything"
                for rule, reason in entry.data.items():
                    assert len(reason.split()) >= 5, f"{construct.node.path}: {rule} has no reason"
        for child in construct.node.children:
            visit(child)

    visit(app)
    assert said


def errors(template: Json, file: Path) -> list[str]:
    file.write_text(json.dumps(template))
    matches = lint_file(file, config=ManualArgs(regions=["us-east-1", "eu-central-1"]))
    return [f"{match.rule.id} {match.message}" for match in matches if match.rule.id.startswith("E")]


def test_cfn_lint_finds_no_error(template: Template, tmp_path: Path) -> None:
    assert errors(template.body, tmp_path / "template.json") == []


def test_cfn_lint_is_told_to_overlook_its_wrong_idea_of_timeouts_only(
    template: Template, tmp_path: Path
) -> None:
    body = json.loads(json.dumps(template.body))
    told = [
        resource["Metadata"].pop("cfn-lint", {})
        for resource in body["Resources"].values()
        if "Metadata" in resource
    ]
    assert [one for one in told if one] == [{"config": {"ignore_checks": ["E3601"]}}]
    for error in errors(body, tmp_path / "template.json"):
        assert re.fullmatch(r"E3601 .*is not of type 'number' at 'States/[^/]+/TimeoutSeconds'", error)


def test_the_same_input_makes_the_same_template(template: Template, synthesize: Synthesize) -> None:
    shuffled = dict(
        reversed(CONTEXT.items()), readPrefixes="other-data/,sample-data/weather/,sample-data/flights/"
    )
    assert synthesize(shuffled)[1].body == template.body
