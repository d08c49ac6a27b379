"""A synthesized template as plain data, with ARNs as text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Template:
    body: Json

    def resources(self, type_: str) -> dict[str, Json]:
        """Logical id to resource, of one CloudFormation type."""
        return {name: one for name, one in self.body["Resources"].items() if one["Type"] == type_}

    def one(self, type_: str) -> tuple[str, Json]:
        """Logical id and properties of the only resource of its type."""
        ((name, resource),) = self.resources(type_).items()
        return name, resource["Properties"]

    def machine(self, *, batch: bool = False) -> tuple[str, Json]:
        """Logical id and properties of the state machine that runs queries, or of the one for batches."""
        ((name, resource),) = (
            (name, one)
            for name, one in self.resources("AWS::StepFunctions::StateMachine").items()
            if one["Properties"]["StateMachineName"].endswith("-batch") is batch
        )
        return name, resource["Properties"]

    def machine_role(self, *, batch: bool = False) -> str:
        """Logical id of its role."""
        role: str = self.machine(batch=batch)[1]["RoleArn"]["Fn::GetAtt"][0]
        return role

    def function(self, name: str) -> tuple[str, Json]:
        """Logical id and properties of the function whose handler is functions.`name`.handler."""
        for logical_id, resource in self.resources("AWS::Lambda::Function").items():
            if resource["Properties"]["Handler"] == f"functions.{name}.handler":
                return logical_id, resource["Properties"]
        raise AssertionError(f"no function has the handler functions.{name}.handler")

    def statements(self, role: str) -> list[Json]:
        """Every statement of a role, from its inline and its attached policies."""
        own = self.body["Resources"][role]["Properties"].get("Policies", [])
        attached = [
            policy["Properties"]
            for type_ in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
            for policy in self.resources(type_).values()
        ]
        documents = [policy["PolicyDocument"] for policy in own]
        documents += [policy["PolicyDocument"] for policy in attached if {"Ref": role} in policy["Roles"]]
        return [statement for document in documents for statement in document["Statement"]]

    def role_of(self, function: str) -> str:
        """Logical id of the role of the function whose handler is functions.`function`.handler."""
        role: str = self.function(function)[1]["Role"]["Fn::GetAtt"][0]
        return role

    def grants(self, role: str) -> dict[str, list[str]]:
        """Action to the resources on which the role has it, sorted, as text."""
        allowed: dict[str, set[str]] = {}
        for statement in self.statements(role):
            assert statement["Effect"] == "Allow"
            for action in listed(statement["Action"]):
                allowed.setdefault(action, set()).update(map(text, listed(statement["Resource"])))
        return {action: sorted(resources) for action, resources in allowed.items()}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def text(value: Any) -> str:
    """A value as text: `<Id>` for a Ref, `<Id.Attribute>` for a GetAtt.

    An ARN of the stack's own account and Region, or of neither, is shortened to service and resource:
    `glue:catalog`, `s3:bucket/key`.
    """
    match value:
        case {"Ref": str(name)}:
            return f"<{name}>"
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Join": [str(separator), list(parts)]}:
            whole = separator.join(map(text, parts))
            return re.sub(r"^arn:<AWS::Partition>:(\w+):(<AWS::Region>)?:(<AWS::AccountId>)?:", r"\1:", whole)
    return str(value)


def walk(value: Any) -> Iterator[Any]:
    """Every value inside a JSON value, itself first."""
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)
