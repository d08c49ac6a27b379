"""CloudFormation types that MiniStack does not know and would reject."""

import json
from typing import Any

from ministack.services import stepfunctions
from ministack.services.cloudformation import provisioners

from local.emulator import logs

# What a handler of MiniStack returns: the physical id and the attributes.
_Resource = tuple[str, dict[str, Any]]


def install() -> None:
    _register("AWS::CloudWatch::CompositeAlarm", {"create": _record, "delete": _forget})
    _register(
        "AWS::Logs::QueryDefinition",
        {"create": _create_saved_query, "update": _update_saved_query, "delete": _delete_saved_query},
    )
    _register(
        "AWS::StepFunctions::StateMachineVersion",
        {"create": _publish_version, "update": _publish_next_version, "delete": _delete_version},
    )
    _register(
        "AWS::StepFunctions::StateMachineAlias",
        {"create": _create_alias, "update": _update_alias, "delete": _delete_alias},
    )


def _register(name: str, handlers: dict[str, Any]) -> None:
    provisioners._RESOURCE_HANDLERS.setdefault(name, handlers)


def _record(logical_id: str, _properties: dict[str, Any], stack_name: str) -> _Resource:
    return f"{stack_name}-{logical_id}", {}


def _forget(_physical_id: str, _properties: dict[str, Any]) -> None:
    """There is nothing to delete."""


def _saved_query(properties: dict[str, Any]) -> dict[str, Any]:
    names = {"name": "Name", "queryString": "QueryString", "logGroupNames": "LogGroupNames"}
    return {name: properties[other] for name, other in names.items() if other in properties}


def _create_saved_query(_logical_id: str, properties: dict[str, Any], _stack_name: str) -> _Resource:
    query_id = logs.put(_saved_query(properties))["queryDefinitionId"]
    return query_id, {"QueryDefinitionId": query_id}


def _update_saved_query(physical_id: str, _old: Any, new: dict[str, Any], _stack_name: str) -> _Resource:
    logs.put({**_saved_query(new), "queryDefinitionId": physical_id})
    return physical_id, {"QueryDefinitionId": physical_id}


def _delete_saved_query(physical_id: str, _properties: dict[str, Any]) -> None:
    logs.delete({"queryDefinitionId": physical_id})


def _publish_version(_logical_id: str, properties: dict[str, Any], _stack_name: str) -> _Resource:
    request = {
        "stateMachineArn": properties["StateMachineArn"],
        "revisionId": properties.get("StateMachineRevisionId"),
    }
    arn = _answer(stepfunctions._publish_state_machine_version(request))["stateMachineVersionArn"]
    return arn, {"Arn": arn}


def _publish_next_version(_physical_id: str, _old: Any, new: dict[str, Any], stack_name: str) -> _Resource:
    """A changed version is a replacement; the old one stays, as its UpdateReplacePolicy demands."""
    return _publish_version("", new, stack_name)


def _delete_version(physical_id: str, _properties: dict[str, Any]) -> None:
    stepfunctions._delete_state_machine_version({"stateMachineVersionArn": physical_id})


def _routing(properties: dict[str, Any]) -> list[dict[str, Any]]:
    version = properties["DeploymentPreference"]["StateMachineVersionArn"]
    return [{"stateMachineVersionArn": version, "weight": 100}]


def _create_alias(_logical_id: str, properties: dict[str, Any], _stack_name: str) -> _Resource:
    request = {"name": properties["Name"], "routingConfiguration": _routing(properties)}
    arn = _answer(stepfunctions._create_state_machine_alias(request))["stateMachineAliasArn"]
    return arn, {"Arn": arn}


def _update_alias(physical_id: str, _old: Any, new: dict[str, Any], _stack_name: str) -> _Resource:
    request = {"stateMachineAliasArn": physical_id, "routingConfiguration": _routing(new)}
    _answer(stepfunctions._update_state_machine_alias(request))
    return physical_id, {"Arn": physical_id}


def _delete_alias(physical_id: str, _properties: dict[str, Any]) -> None:
    stepfunctions._delete_state_machine_alias({"stateMachineAliasArn": physical_id})


def _answer(response: tuple[int, Any, bytes]) -> dict[str, Any]:
    """The body of a response. Raise ValueError with its message for an error, as MiniStack's handlers do."""
    status, _, body = response
    answer: dict[str, Any] = json.loads(body)
    if status >= 400:  # noqa: PLR2004 - HTTP's client and server errors
        raise ValueError(answer.get("message") or answer)
    return answer
