"""Saved queries of CloudWatch Logs Insights (query definitions), which MiniStack lacks. They are not run."""

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, error_response_json, json_response
from ministack.services import cloudwatch_logs

_PAGE = 1000

_ministack_handle_request = cloudwatch_logs.handle_request
# By queryDefinitionId, as DescribeQueryDefinitions returns them.
_definitions = AccountRegionScopedDict()


def install() -> None:
    cloudwatch_logs.handle_request = _handle_request


async def _handle_request(
    method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
) -> Any:
    operation = _OPERATIONS.get(headers.get("x-amz-target", "").rpartition(".")[2])
    if operation is None:
        return await _ministack_handle_request(method, path, headers, body, query_params)
    try:
        return json_response(operation(json.loads(body or b"{}")))
    except KeyError as unknown:
        message = f"The specified query definition does not exist: {unknown.args[0]}"
        return error_response_json("ResourceNotFoundException", message)


def put(data: dict[str, Any]) -> dict[str, Any]:
    """PutQueryDefinition. Raise KeyError for an unknown queryDefinitionId."""
    known = data.get("queryDefinitionId")
    if known and known not in _definitions:
        raise KeyError(known)
    definition_id = known or str(uuid.uuid4())
    _definitions[definition_id] = {
        "queryDefinitionId": definition_id,
        "name": data["name"],
        "queryString": data["queryString"],
        "logGroupNames": data.get("logGroupNames", []),
        "lastModified": int(time.time() * 1000),
    }
    return {"queryDefinitionId": definition_id}


def delete(data: dict[str, Any]) -> dict[str, Any]:
    """DeleteQueryDefinition. Raise KeyError for an unknown queryDefinitionId."""
    del _definitions[data["queryDefinitionId"]]
    return {"success": True}


def _describe(data: dict[str, Any]) -> dict[str, Any]:
    prefix = data.get("queryDefinitionNamePrefix", "")
    found = [one for one in _definitions.values() if one["name"].startswith(prefix)]
    first, most = int(data.get("nextToken", "0")), data.get("maxResults", _PAGE)
    more = {"nextToken": str(first + most)} if first + most < len(found) else {}
    return {"queryDefinitions": found[first : first + most], **more}


_OPERATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "PutQueryDefinition": put,
    "DeleteQueryDefinition": delete,
    "DescribeQueryDefinitions": _describe,
}
