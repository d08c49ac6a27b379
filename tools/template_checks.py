"""Checks that tests of the template and `tools.supply_chain` share, and the settings that they use."""

import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks, HIPAASecurityChecks, NIST80053R5Checks
from cfnlint.api import lint_file  # type: ignore[import-untyped]
from cfnlint.config import ManualArgs  # type: ignore[import-untyped]
from constructs import IConstruct

# A value for each setting that grants access to data.
OWN: Mapping[str, Any] = {
    "readDatabases": "flights",
    "writeDatabases": "lab",
    "readPrefixes": "sample-data/flights/,sample-data/weather/,other-data/",
    "writePrefixes": "sample-data/lab/",
    "defaultDatabase": "flights",
}

_ACCOUNT = "123456789012"


def key_arn(name: str) -> str:
    return f"arn:aws:kms:eu-west-1:{_ACCOUNT}:key/{uuid.uuid5(uuid.NAMESPACE_DNS, name)}"


# A stack built wholly on what is brought.
BROUGHT: Mapping[str, Any] = {
    **OWN,
    "stage": "dev",
    "workGroup": "analysts",
    "resultsBucket": "company-results",
    "resultsPrefix": "athena/",
    "resultsKeyArn": key_arn("results"),
    "tableKeyArn": key_arn("table"),
    "queueKeyArn": key_arn("queue"),
    "logsKeyArn": key_arn("logs"),
    "vpcSubnetIds": "subnet-00000001,subnet-00000002",
    "vpcSecurityGroupIds": "sg-00000001",
    "permissionsBoundaryArn": f"arn:aws:iam::{_ACCOUNT}:policy/boundary",
    "rolePath": "/data/",
    "roleNamePrefix": "acme-",
    "removalPolicy": "retain",
    "tags": "team=data,cost-center=42",
    "alarmTopicArn": f"arn:aws:sns:eu-west-1:{_ACCOUNT}:on-call",
}


def findings(app: App) -> list[str]:
    """Rule and construct of every finding of cdk-nag's packs."""
    return [
        f"{violation.rule_name} at {resource.construct_path}"
        for pack in (AwsSolutionsChecks, NIST80053R5Checks, HIPAASecurityChecks)
        for violation in pack(app).validate_scope(app).violations
        for resource in violation.violating_resources
    ]


def acknowledgements(construct: IConstruct) -> Iterator[tuple[str, str]]:
    """Path and rule of every acknowledged finding below a construct."""
    for entry in construct.node.metadata:
        if entry.type == Validations.ACKNOWLEDGED_RULES_METADATA_KEY:
            yield from ((construct.node.path, rule.removeprefix("Annotation::")) for rule in entry.data)
    for child in construct.node.children:
        yield from acknowledgements(child)


def lint_errors(template: Mapping[str, Any], file: Path) -> list[str]:
    """cfn-lint's errors; the template is written to `file`."""
    file.write_text(json.dumps(template))
    matches = lint_file(file, config=ManualArgs(regions=["us-east-1", "eu-central-1"]))
    return [f"{match.rule.id} {match.message}" for match in matches if match.rule.id.startswith("E")]
