"""An update of the settings changes no property that CloudFormation can change only by a replacement."""

from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]

from tests.template.conftest import Synthesize
from tests.template.reading import Json, Template
from tests.template.test_policy_sizes import MANY
from tools.template_checks import BROUGHT, OWN

# CloudFormation cannot replace a role or managed policy that has a name of its own.
NAMED = {**OWN, "roleNamePrefix": "acme-"}

CHANGES: dict[str, dict[str, Any]] = {
    "more data access": MANY,
    "keys, network and boundary": {
        name: value
        for name, value in BROUGHT.items()
        if name.endswith("KeyArn") or name.startswith("vpc") or name in {"permissionsBoundaryArn", "tags"}
    },
    "retention": {
        "removalPolicy": "retain",
        "logRetentionDays": 7,
        "resultsRetentionDays": 3,
        "taskTtlDays": 40,
    },
}


def fixed(template: Template) -> dict[str, list[Any]]:
    """Logical id to the values of the properties that CloudFormation cannot change without a replacement."""
    return {
        name: [value_at(one.get("Properties", {}), path) for path in create_only(one["Type"])]
        for name, one in template.body["Resources"].items()
    }


def create_only(type_: str) -> list[str]:
    """Paths of these properties, from the schema of the resource type."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", type_).schema
    return [path.removeprefix("/properties/") for path in schema.get("createOnlyProperties", [])]


def value_at(properties: Json, path: str) -> Any:
    value: Any = properties
    for name in path.split("/"):
        value = value.get(name) if isinstance(value, dict) else None
    return value


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_no_resource_is_replaced(synthesize: Synthesize, change: dict[str, Any]) -> None:
    before, after = (fixed(synthesize(context)[1]) for context in (NAMED, {**NAMED, **change}))
    assert set(before) <= set(after)
    assert {name: after[name] for name in before} == before
