"""Athena's query API as on AWS. It replaces MiniStack's."""

import asyncio
import json
import sys
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, get_region, json_response
from ministack.services import athena

from local.emulator import eventbridge
from local.emulator.athena import account, lifecycle, permissions, results, submission
from local.emulator.athena.errors import Refused
from local.emulator.faults import NO_CAPACITY, RATE_LIMIT, faults

# The SQL parser recurses, and Athena accepts statements that nest several hundred levels deep.
_RECURSION_LIMIT = 20_000

_ministack_handle_request = athena.handle_request
# By account, Region and ClientRequestToken: the request, and the query that it started.
_started: dict[tuple[str, str, str], tuple[str, str]] = {}


def install() -> None:
    """Replace MiniStack's API with this module's."""
    sys.setrecursionlimit(_RECURSION_LIMIT)
    account.install()
    athena.handle_request = _handle_request


async def _handle_request(
    method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
) -> Any:
    operations = {
        "StartQueryExecution": _start,
        "StopQueryExecution": _stop,
        "GetQueryResults": _get_results,
    }
    operation = operations.get(headers.get("x-amz-target", "").rpartition(".")[2])
    if operation is None:
        return await _ministack_handle_request(
            method, path, headers, account.with_catalog_name(body), query_params
        )
    # Every account has it in each Region from the start.
    athena._ensure_default_workgroup()
    permissions.remember_starter(headers, query_params)
    try:
        return await operation(json.loads(body or b"{}"))
    except Refused as reason:
        codes = {"AthenaErrorCode": reason.code, "ErrorCode": reason.code}
        return error_response_json("InvalidRequestException", str(reason), 400, extra=codes)


async def _start(data: dict[str, Any]) -> Any:
    if refusal := faults.next_athena_error(RATE_LIMIT):
        return error_response_json(refusal, "Rate exceeded", 400)
    # In a thread: parsing a long statement takes time.
    execution, job = await asyncio.to_thread(submission.accept, data)
    key = (get_account_id(), get_region(), data["ClientRequestToken"])
    parameters = submission.idempotent_parameters(data)
    known, query_id = _started.get(key, (None, ""))
    if known is not None:
        if known != parameters:
            raise Refused("Idempotent parameters do not match", "IDEMPOTENT_PARAMETER_MISMATCH")
        return json_response({"QueryExecutionId": query_id})
    if refusal := faults.next_athena_error(NO_CAPACITY):
        message = "You have exceeded the limit for the number of queries you can run concurrently."
        return error_response_json(refusal, message, 400)
    _started[key] = (parameters, job.query_id)
    ended = lifecycle.begin(execution, job)
    if eventbridge.delivery.early():
        # The response is late, so the event is early.
        await asyncio.wrap_future(ended)
        await asyncio.to_thread(eventbridge.delivery.wait_until_handled, job.query_id)
    return json_response({"QueryExecutionId": job.query_id})


async def _stop(data: dict[str, Any]) -> Any:
    query_id = data.get("QueryExecutionId", "")
    execution = athena._executions.get(query_id)
    if execution is None:
        raise Refused(f"QueryExecution {query_id} was not found", "QUERY_EXECUTION_NOT_FOUND")
    lifecycle.stop(execution)
    return json_response({})


async def _get_results(data: dict[str, Any]) -> Any:
    return results.page(athena._executions.get(data.get("QueryExecutionId", "")), data)
