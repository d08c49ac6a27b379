"""IAM is enforced, and this names the resource of calls whose resource MiniStack does not know."""

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
    # Policies that refuse requests without TLS are in force; what never leaves the machine passes them.
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
    """A query's calls are about its workgroup, a task token's about its state machine."""
    if service == "athena" and (group := _work_group(json.loads(body or b"{}"))):
        return f"arn:aws:athena:{region}:{account_id}:workgroup/{group}"
    if service == "states" and (
        machine := tasks.state_machine_of(json.loads(body or b"{}").get("taskToken"))
    ):
        return machine
    return _ministack_resource(service, method, path, headers, body, query_params, region, account_id)


def _work_group(call: dict[str, Any]) -> str | None:
    query_id = call.get("QueryExecutionId") or next(iter(call.get("QueryExecutionIds") or []), None)
    if query_id in athena._executions:
        return str(athena._executions[query_id]["WorkGroup"])
    named = athena._named_queries.get(call.get("NamedQueryId", ""))
    return str(named["WorkGroup"]) if named else None
