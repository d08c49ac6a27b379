"""Least privilege by hand: every statement of every role is written with `allow`, none comes from CDK."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Acknowledgment, Stack, Validations
from aws_cdk import aws_iam as iam
from constructs import IConstruct


def allow(
    role: iam.Role,
    sid: str,
    *,
    actions: Sequence[str],
    on: Sequence[str],
    when: Mapping[str, Mapping[str, Any]] | None = None,
    wildcards: str = "",
) -> None:
    """Let the role do `actions` on the resources `on`.

    Where one of those holds a `*`, `wildcards` says why it must: cdk-nag refuses the stack without.
    """
    role.add_to_policy(
        iam.PolicyStatement(sid=sid, actions=[*actions], resources=[*on], conditions=when and {**when})
    )
    if wildcards:
        for resource in on:
            name = _finding(Stack.of(role).resolve(resource))
            if "*" in name:
                acknowledge(role, f"AwsSolutions-IAM5[Resource::{name}]", wildcards)


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Accept one finding of cdk-nag on one construct."""
    Validations.of(construct).acknowledge(Acknowledgment(id=rule, reason=reason))


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
