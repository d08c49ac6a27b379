"""CloudFormation types that MiniStack does not know and would reject. They are recorded only."""

from typing import Any

from ministack.services.cloudformation import provisioners

_RECORDED = (
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::Logs::QueryDefinition",
    "AWS::StepFunctions::StateMachineAlias",
    "AWS::StepFunctions::StateMachineVersion",
)


def install() -> None:
    for name in _RECORDED:
        provisioners._RESOURCE_HANDLERS.setdefault(name, {"create": _record, "delete": _forget})


def _record(logical_id: str, _properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
    return f"{stack_name}-{logical_id}", {}


def _forget(_physical_id: str, _properties: dict[str, Any]) -> None:
    """There is nothing to delete."""
