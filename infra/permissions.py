"""Explicit permissions: `grant` writes every statement of every role, none comes from CDK.

See docs/adr/0009-explicit-permissions.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.nag import acknowledge, compliance
from infra.settings import Settings


def make_role(
    scope: Construct, *, service: str, name: str, settings: Settings, description: str | None = None
) -> iam.Role:
    """A role that the AWS service assumes. `name` ends its name if the settings have a prefix for names."""
    role = iam.Role(
        scope,
        "Role",
        assumed_by=iam.ServicePrincipal(f"{service}.amazonaws.com"),
        description=description,
        path=settings.role_path,
        role_name=settings.role_name(name),
    )
    acknowledge(
        role,
        "The inline policy belongs to this role alone, and is deleted with it.",
        *compliance("IAMNoInlinePolicy"),
    )
    return role


def grant(
    role: iam.Role,
    sid: str,
    *,
    actions: Sequence[str],
    resources: Sequence[str],
    conditions: Mapping[str, Mapping[str, Any]] | None = None,
    wildcard_reason: str = "",
) -> None:
    """Allow the role `actions` on `resources`.

    cdk-nag rejects a resource with a `*` unless `wildcard_reason` states why it is needed.
    """
    role.add_to_policy(
        iam.PolicyStatement(
            sid=sid, actions=[*actions], resources=[*resources], conditions=conditions and {**conditions}
        )
    )
    if wildcard_reason:
        for resource in resources:
            name = _finding(Stack.of(role).resolve(resource))
            if "*" in name:
                acknowledge(role, wildcard_reason, f"AwsSolutions-IAM5[Resource::{name}]")


def _finding(arn: Any) -> str:
    """An ARN as cdk-nag writes it in a finding's id: references in angle brackets."""
    match arn:
        case {"Ref": str(name)}:
            return f"<{name}>"
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(map(_finding, parts))
    return str(arn)
