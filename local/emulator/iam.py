"""IAM is enforced. This module resolves the resource of calls for which MiniStack does not."""

import json
from typing import Any

from ministack import app
from ministack.core import iam_actions
from ministack.services import athena

from local.emulator.stepfunctions import tasks

_ministack_resource = iam_actions.extract_resource_arn
_ministack_pin_origin = app.pin_request_origin


def install() -> None:
    iam_actions.extract_resource_arn = _resource
    # Policies that deny requests without TLS are in effect; loopback traffic counts as TLS.
    app.pin_request_origin = lambda source_ip, _: _ministack_pin_origin(source_ip, True)  # noqa: FBT003


def _resource(
    service: str,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    query_params: dict[str, Any],
    region: str,
    account_id: str,
) -> Any:
    """The resource of a query is its workgroup, that of a task token its state machine."""
    if service == "athena" and (group := _work_group(json.loads(body or b"{}"))):
        return f"arn:aws:athena:{region}:{account_id}:workgroup/{group}"
    if service == "states":
        call = json.loads(body or b"{}")
        if arn := tasks.state_machine_of(call.get("taskToken")) or call.get("mapRunArn"):
            return arn
    return _ministack_resource(service, method, path, headers, body, query_params, region, account_id)


def _work_group(call: dict[str, Any]) -> str | None:
    query_id = call.get("QueryExecutionId") or next(iter(call.get("QueryExecutionIds") or []), None)
    if query_id in athena._executions:
        return str(athena._executions[query_id]["WorkGroup"])
    named = athena._named_queries.get(call.get("NamedQueryId", ""))
    return str(named["WorkGroup"]) if named else None
