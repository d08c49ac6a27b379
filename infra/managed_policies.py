"""Permissions of any length, split into managed policies: IAM limits the size of each and their number."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_iam as iam

from infra.nag import acknowledge
from infra.settings import Settings

# IAM user guide, "IAM and AWS STS quotas". White space does not count.
POLICY_CHARACTERS = 6_144
POLICIES_PER_ROLE = 10

# What a stack's partition, Region and account become at most.
_LONGEST = {"partition": "aws-us-gov", "region": "ap-southeast-1", "account": "123456789012"}


class TooManyPoliciesError(Exception):
    """More managed policies are needed than a role can have. `needed` is their number."""

    def __init__(self, needed: int) -> None:
        super().__init__(f"{needed} managed policies are needed, a role holds {POLICIES_PER_ROLE}")
        self.needed = needed


@dataclass(frozen=True, kw_only=True)
class Statement:
    """Allow `actions` on `resources`; where `prefixes` are given, only for an `s3:prefix` like one of them.

    A resource with a `*` needs a `wildcard_reason` for cdk-nag.
    """

    sid: str
    actions: Sequence[str]
    resources: Sequence[str]
    prefixes: Sequence[str] = ()
    wildcard_reason: str = ""

    @property
    def items(self) -> Sequence[str]:
        """What a long statement is split by."""
        return self.prefixes or self.resources

    def part(self, number: int, items: Sequence[str]) -> "Statement":
        """The statement with a number in its Sid and only these of its items."""
        sid = f"{self.sid}{number}"
        if self.prefixes:
            return replace(self, sid=sid, prefixes=items)
        return replace(self, sid=sid, resources=items)

    def to_json(self) -> dict[str, Any]:
        condition = {"Condition": {"StringLike": {"s3:prefix": list(self.prefixes)}}} if self.prefixes else {}
        return {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": list(self.actions),
            "Resource": list(self.resources),
            **condition,
        }


def attach(role: iam.Role, statements: Iterable[Statement], settings: Settings) -> None:
    """Grant the statements to the role. Raise TooManyPoliciesError."""
    stack = Stack.of(role)
    tokens = {name: str(getattr(stack, name)) for name in _LONGEST}
    policies = _pack(_split(statements, tokens), tokens)
    if len(policies) > POLICIES_PER_ROLE:
        raise TooManyPoliciesError(len(policies))
    for number, parts in enumerate(policies):
        policy = iam.ManagedPolicy(
            role,
            f"DataAccess{number}",
            path=settings.role_path,
            managed_policy_name=settings.role_name(f"DataAccess{number}"),
            # A change of it replaces the policy, which CloudFormation cannot do if the settings name it.
            description="Data access of queries",
            statements=[iam.PolicyStatement.from_json(part.to_json()) for part in parts],
            roles=[role],
        )
        for part in parts:
            wildcards = [resource for resource in part.resources if part.wildcard_reason and "*" in resource]
            acknowledge(
                policy,
                part.wildcard_reason,
                *(f"AwsSolutions-IAM5[Resource::{_with(one, tokens, _FINDING)}]" for one in wildcards),
            )


# cdk-nag writes references into the ids of its findings like this.
_FINDING = {"partition": "<AWS::Partition>", "region": "<AWS::Region>", "account": "<AWS::AccountId>"}


def _with(text: str, tokens: dict[str, str], values: dict[str, str]) -> str:
    for name, token in tokens.items():
        text = text.replace(token, values[name])
    return text


def _size(statement: Statement, tokens: dict[str, str]) -> int:
    """Characters of the statement in a policy, with the comma that follows it."""
    return len(_with(json.dumps(statement.to_json(), separators=(",", ":")), tokens, _LONGEST)) + 1


_EMPTY_POLICY = len(json.dumps({"Version": "2012-10-17", "Statement": []}, separators=(",", ":")))
# Longer than the number of any part.
_LARGEST_NUMBER = 99_999
_ROOM = POLICY_CHARACTERS - _EMPTY_POLICY


def _split(statements: Iterable[Statement], tokens: dict[str, str]) -> Iterator[Statement]:
    """The statements in numbered parts, each of which fits into a policy."""
    for statement in statements:
        overhead = _size(statement.part(_LARGEST_NUMBER, statement.items[:1]), tokens)
        parts: list[list[str]] = [[]]
        used = overhead
        for item in statement.items:
            size = len(json.dumps(_with(item, tokens, _LONGEST))) + 1
            if parts[-1] and used + size > _ROOM:
                parts.append([])
                used = overhead
            parts[-1].append(item)
            used += size
        for number, items in enumerate(parts):
            yield statement.part(number, items)


def _pack(statements: Iterable[Statement], tokens: dict[str, str]) -> list[list[Statement]]:
    """The statements in as few policies as first-fit finds, the largest first."""
    policies: list[list[Statement]] = []
    free: list[int] = []
    for statement in sorted(statements, key=lambda one: -_size(one, tokens)):
        size = _size(statement, tokens)
        place = next((number for number, room in enumerate(free) if size <= room), None)
        if place is None:
            place = len(policies)
            policies.append([])
            free.append(_ROOM)
        policies[place].append(statement)
        free[place] -= size
    return policies
