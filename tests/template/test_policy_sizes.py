"""Every role fits into IAM's limits, whatever the settings grant; more than fits is refused by name."""

import json
from typing import Any

import pytest

from infra.settings import SettingError
from tests.template.conftest import Synthesize
from tests.template.reading import Json, Template
from tools.template_checks import OWN

# IAM user guide, "IAM and AWS STS quotas". White space does not count.
MANAGED_CHARACTERS = 6_144
MANAGED_PER_ROLE = 10
INLINE_CHARACTERS_PER_ROLE = 10_240

# As long as they get: a partition, a Region, and the names that CloudFormation makes of a stack's name.
LONGEST = {"AWS::Partition": "aws-us-gov", "AWS::Region": "ap-southeast-1", "AWS::AccountId": "1" * 12}
GENERATED = "x" * 160

MANY = {
    "readDatabases": [f"database_{number:03}" for number in range(200)],
    "readPrefixes": [f"company-data-lake/area_{number:03}/" for number in range(200)],
}
MANY_WRITABLE = {
    "writeDatabases": MANY["readDatabases"],
    "writePrefixes": MANY["readPrefixes"],
}


def deployed(value: Any) -> Any:
    """A part of a policy as CloudFormation would deploy it, with references at their longest."""
    match value:
        case {"Ref": str(name)}:
            return LONGEST.get(name, GENERATED)
        case {"Fn::GetAtt": _}:
            return GENERATED
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(map(deployed, parts))
        case dict():
            return {name: deployed(one) for name, one in value.items()}
        case list():
            return [deployed(one) for one in value]
    return value


def characters(policy: Json) -> int:
    return len(json.dumps(deployed(policy["PolicyDocument"]), separators=(",", ":")))


def policies(template: Template, type_: str, role: str) -> list[Json]:
    found = [one["Properties"] for one in template.resources(type_).values()]
    return [one for one in found if {"Ref": role} in one["Roles"]]


@pytest.mark.parametrize(
    "context",
    [OWN, MANY, MANY_WRITABLE],
    ids=["a few", "200 databases and prefixes", "200 writable databases and prefixes"],
)
def test_every_policy_of_every_role_is_within_the_limits(
    synthesize: Synthesize, context: dict[str, Any]
) -> None:
    _, template = synthesize(context)
    for role in template.resources("AWS::IAM::Role"):
        managed = [characters(one) for one in policies(template, "AWS::IAM::ManagedPolicy", role)]
        assert len(managed) <= MANAGED_PER_ROLE, role
        assert all(size <= MANAGED_CHARACTERS for size in managed), (role, managed)
        inline = [characters(one) for one in policies(template, "AWS::IAM::Policy", role)]
        assert sum(inline) <= INLINE_CHARACTERS_PER_ROLE, (role, inline)


def test_each_of_two_hundred_databases_and_prefixes_is_granted(synthesize: Synthesize) -> None:
    _, template = synthesize(MANY)
    grants = template.grants(template.role_of("executor"))
    assert {f"glue:table/{name}/*" for name in MANY["readDatabases"]} <= set(grants["glue:GetTable"])
    assert {f"s3:{prefix}*" for prefix in MANY["readPrefixes"]} <= set(grants["s3:GetObject"])
    listable = {
        f"company-data-lake/{key}"
        for statement in template.statements(template.role_of("executor"))
        if statement["Sid"].startswith("List") and "Condition" in statement
        for key in statement["Condition"]["StringLike"]["s3:prefix"]
    }
    assert {f"{prefix}*" for prefix in MANY["readPrefixes"]} <= listable


def test_statements_of_a_policy_have_different_sids(synthesize: Synthesize) -> None:
    _, template = synthesize(MANY)
    for policy in template.resources("AWS::IAM::ManagedPolicy").values():
        sids = [one["Sid"] for one in policy["Properties"]["PolicyDocument"]["Statement"]]
        assert len(set(sids)) == len(sids)
        assert all(sid.isalnum() for sid in sids)


def test_more_than_a_role_can_hold_is_refused_by_name(synthesize: Synthesize) -> None:
    with pytest.raises(SettingError) as error:
        synthesize({"readDatabases": [f"database_{number}" for number in range(900)], "readPrefixes": "a-b/"})
    assert str(error.value).startswith("settings readDatabases (900), readPrefixes (1) need ")
    assert "a role holds 10; name fewer databases, tables and prefixes, or several stacks" in str(error.value)
    assert "\n" not in str(error.value)
