"""The statements of deployed roles: read, and removed for a while."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from local.stack import Stack

Document = dict[str, Any]

_REST = "without-a-statement"


def statement_name(sid: str) -> str:
    """The name of a statement, which has numbers in its Sid where it is split or repeated."""
    return re.sub(r"\d+", "", sid)


def names_and_actions(statements: list[Document]) -> dict[str, list[str]]:
    """Statement to its actions, sorted."""
    found: dict[str, set[str]] = {}
    for one in statements:
        actions = one["Action"] if isinstance(one["Action"], list) else [one["Action"]]
        found.setdefault(statement_name(one["Sid"]), set()).update(actions)
    return {name: sorted(actions) for name, actions in found.items()}


def deployed_role(stack: Stack, role: str) -> str:
    """The name of the role of a function, or of a state machine, in a deployed stack."""
    if role.endswith("StateMachine"):
        arn = stack.outputs[f"{role}Arn"]
        found = stack.client("stepfunctions").describe_state_machine(stateMachineArn=arn)["roleArn"]
    else:
        name = stack.outputs[f"{role}FunctionName"]
        found = stack.client("lambda").get_function_configuration(FunctionName=name)["Role"]
    return str(found).rpartition("/")[2]


def deployed_statements(iam: Any, role: str) -> list[Document]:
    """Every statement of the role."""
    documents = [*_inline(iam, role).values(), *_managed(iam, role).values()]
    return [statement for document in documents for statement in document["Statement"]]


@contextmanager
def without(iam: Any, role: str, name: str) -> Iterator[None]:
    """The deployed role without one statement, whatever policies hold its parts."""
    inline, managed = _inline(iam, role), _managed(iam, role)
    rest = {policy: _rest(document, name) for policy, document in (inline | managed).items()}
    try:
        for policy in inline:
            _put(iam, role, policy, rest[policy])
        for number, arn in enumerate(managed):
            if rest[arn] != managed[arn]["Statement"]:
                iam.detach_role_policy(RoleName=role, PolicyArn=arn)
                _put(iam, role, f"{_REST}-{number}", rest[arn])
        yield
    finally:
        for policy in _inline(iam, role):
            if policy.startswith(_REST):
                iam.delete_role_policy(RoleName=role, PolicyName=policy)
        for policy, document in inline.items():
            _put(iam, role, policy, document["Statement"])
        for arn in managed:
            iam.attach_role_policy(RoleName=role, PolicyArn=arn)


def _rest(document: Document, name: str) -> list[Document]:
    return [one for one in document["Statement"] if statement_name(one["Sid"]) != name]


def _put(iam: Any, role: str, policy: str, statements: list[Document]) -> None:
    if statements:
        document = {"Version": "2012-10-17", "Statement": statements}
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))


def _inline(iam: Any, role: str) -> dict[str, Document]:
    """Policy name to document."""
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return {
        name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in sorted(names)
    }


def _managed(iam: Any, role: str) -> dict[str, Document]:
    """Policy ARN to document."""
    found = {}
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        arn = attached["PolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        answer = iam.get_policy_version(PolicyArn=arn, VersionId=version)
        found[arn] = answer["PolicyVersion"]["Document"]
    return found
