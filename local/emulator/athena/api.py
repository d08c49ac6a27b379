"""Athena's query API as on AWS, in place of MiniStack's: what it refuses, remembers and tells."""

import asyncio
import contextvars
import json
import re
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import duckdb
from ministack.core.responses import error_response_json, get_account_id, get_region, json_response
from ministack.services import athena

from local.emulator import eventbridge
from local.emulator.athena import dialect, engine
from local.emulator.faults import NO_CAPACITY, RATE_LIMIT, TRANSIENT, faults

_QUERY_CHARACTERS = 262_144
_TOKEN_CHARACTERS = range(32, 129)
# The SQL parser recurses, and Athena takes statements that nest several hundred levels deep.
_RECURSION_LIMIT = 20_000
_TERMINAL = {"SUCCEEDED", "FAILED", "CANCELLED"}

# Queries beyond these wait as QUEUED, as on Athena.
_workers = ThreadPoolExecutor(max_workers=8, thread_name_prefix="athena")
_ministack_handle_request = athena.handle_request
_started: dict[tuple[str, str, str], tuple[str, str]] = {}
_connections: dict[str, duckdb.DuckDBPyConnection] = {}
_state_lock = threading.Lock()
# The event loop itself keeps only weak references to its tasks.
_tasks: set[asyncio.Task[None]] = set()


def install() -> None:
    """Put this module's API in the place of MiniStack's."""
    sys.setrecursionlimit(_RECURSION_LIMIT)
    athena.handle_request = _handle_request


async def _handle_request(
    method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
) -> Any:
    action = headers.get("x-amz-target", "").rpartition(".")[2]
    if action not in {"StartQueryExecution", "StopQueryExecution"}:
        return await _ministack_handle_request(method, path, headers, body, query_params)
    data = json.loads(body or b"{}")
    return await _start(data) if action == "StartQueryExecution" else _stop(data)


async def _start(data: dict[str, Any]) -> Any:
    if refusal := faults.next_athena_error(RATE_LIMIT):
        return error_response_json(refusal, "Rate exceeded", 400)
    token = data.get("ClientRequestToken")
    try:
        _check_token(token)
        # In a thread: parsing a long statement takes time.
        execution, job = await asyncio.to_thread(_accept, data)
    except dialect.Refused as reason:
        return _refusal(reason)
    key = (get_account_id(), get_region(), str(token))
    known, query_id = _started.get(key, (None, ""))
    if known:
        if known != _idempotent_parameters(data):
            mismatch = dialect.Refused("Idempotent parameters do not match", "IDEMPOTENT_PARAMETER_MISMATCH")
            return _refusal(mismatch)
        return json_response({"QueryExecutionId": query_id})
    if refusal := faults.next_athena_error(NO_CAPACITY):
        message = "You have exceeded the limit for the number of queries you can run concurrently."
        return error_response_json(refusal, message, 400)
    query_id = execution["QueryExecutionId"]
    _started[key] = (_idempotent_parameters(data), query_id)
    athena._executions[query_id] = execution
    _tell(execution, None)
    task = asyncio.get_running_loop().create_task(_run(execution, job))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    if eventbridge.delivery.early():
        # The answer is late, so the event is early.
        await task
        await asyncio.to_thread(eventbridge.delivery.wait_until_handled, query_id)
    return json_response({"QueryExecutionId": query_id})


def _idempotent_parameters(data: dict[str, Any]) -> str:
    """What Athena compares, as it was sent: not the execution parameters, nor the workgroup (measured)."""
    location = (data.get("ResultConfiguration") or {}).get("OutputLocation")
    return json.dumps([data.get("QueryString"), data.get("QueryExecutionContext"), location], sort_keys=True)


def _check_token(token: str | None) -> None:
    if token is None:
        raise dialect.Refused("clientRequestToken is null or empty", dialect.INVALID_INPUT)
    if len(token) not in _TOKEN_CHARACTERS:
        bound = (
            "greater than or equal to 32"
            if len(token) < _TOKEN_CHARACTERS.start
            else "less than or equal to 128"
        )
        raise dialect.Refused(
            "1 validation error detected: Value at 'clientRequestToken' failed to satisfy constraint: "
            f"Member must have length {bound}",
            dialect.INVALID_INPUT,
        )


def _refusal(reason: dialect.Refused) -> Any:
    codes = {"AthenaErrorCode": reason.code, "ErrorCode": reason.code}
    return error_response_json("InvalidRequestException", str(reason), 400, extra=codes)


def _accept(data: dict[str, Any]) -> tuple[dict[str, Any], engine.Job]:
    """The new query execution, QUEUED. Raise Refused as Athena would."""
    sql = data.get("QueryString", "")
    if not 1 <= len(sql) <= _QUERY_CHARACTERS:
        raise dialect.Refused(
            f"QueryString has {len(sql)} characters; 1 to {_QUERY_CHARACTERS} are allowed",
            dialect.INVALID_INPUT,
        )
    work_group = data.get("WorkGroup", "primary")
    if work_group not in athena._workgroups:
        raise dialect.Refused("WorkGroup is not found.", dialect.INVALID_INPUT)
    configuration = athena._workgroups[work_group].get("Configuration", {})
    location = configuration.get("ResultConfiguration", {}).get("OutputLocation")
    if not configuration.get("EnforceWorkGroupConfiguration", True) or not location:
        location = data.get("ResultConfiguration", {}).get("OutputLocation") or location
    if not location:
        raise dialect.Refused(
            "No output location provided. An output location is required either through the Workgroup result "
            "configuration setting or as an API input.",
            dialect.INVALID_INPUT,
        )
    context = data.get("QueryExecutionContext") or {}
    parameters = data.get("ExecutionParameters", [])
    statement = dialect.parse(sql)
    if statement.kind == "EXECUTE":
        statement, parameters = _prepared(statement, work_group, parameters)
    statement = dialect.bind(statement, parameters)
    query_id = str(uuid.uuid4())
    scratch = location.rstrip("/") + "/"
    execution = {
        "QueryExecutionId": query_id,
        "Query": sql,
        "StatementType": statement.type,
        "SubstatementType": statement.kind,
        "WorkGroup": work_group,
        "QueryExecutionContext": _shown_context(context),
        "ExecutionParameters": parameters,
        "ResultConfiguration": {"OutputLocation": scratch + query_id + _suffix(statement)},
        "ResultReuseConfiguration": data.get("ResultReuseConfiguration", {}),
        "EngineVersion": {
            "SelectedEngineVersion": "AUTO",
            "EffectiveEngineVersion": "Athena engine version 3",
        },
        "Status": {"State": "QUEUED", "SubmissionDateTime": time.time()},
        "Statistics": {},
        "_events": 0,
    }
    job = engine.Job(
        query_id=query_id,
        statement=statement,
        database=context.get("Database", "default").lower(),
        catalog=context.get("Catalog", engine.DEFAULT_CATALOG).lower(),
        work_group=work_group,
        scratch=scratch,
        bytes_limit=configuration.get("BytesScannedCutoffPerQuery"),
        connected=lambda connection: _connections.__setitem__(query_id, connection),
    )
    return execution, job


def _shown_context(context: dict[str, str]) -> dict[str, str]:
    """As GetQueryExecution returns it: the catalog in lower case, and nothing that was not sent."""
    return {name: value.lower() if name == "Catalog" else value for name, value in context.items()}


def _suffix(statement: dialect.Statement) -> str:
    """A query's rows are a CSV file; other statements give plain text, or write their data elsewhere."""
    if statement.kind in {"CREATE_TABLE_AS_SELECT", "INSERT", "UNLOAD"}:
        return ""
    return ".csv" if statement.type == "DML" else ".txt"


def _prepared(
    statement: dialect.Statement, work_group: str, parameters: list[str]
) -> tuple[dialect.Statement, list[str]]:
    match = re.fullmatch(r"EXECUTE\s+(\w+)(?:\s+USING\s+(.*))?", statement.text, re.IGNORECASE | re.DOTALL)
    known = athena._prepared_statements.get(f"{work_group}/{match[1].lower()}") if match else None
    if match is None or known is None:
        raise dialect.Refused("PreparedStatement was not found in workGroup " + work_group)
    given = dialect.literals(match[2]) if match[2] else parameters
    return dialect.parse(known["QueryStatement"]), given


async def _run(execution: dict[str, Any], job: engine.Job) -> None:
    context = contextvars.copy_context()
    await asyncio.get_running_loop().run_in_executor(_workers, context.run, _work, execution, job)


def _work(execution: dict[str, Any], job: engine.Job) -> None:
    begun = time.time()
    queued_ms = round((begun - execution["Status"]["SubmissionDateTime"]) * 1000)
    if not _move(execution, "RUNNING"):
        return
    failure = None
    try:
        _complete(execution, job)
        state, reason = "SUCCEEDED", None
    except engine.ScanLimitExceeded as limit:
        execution["Statistics"]["DataScannedInBytes"] = limit.scanned_bytes
        state, reason = "CANCELLED", str(limit)
    except Exception as error:  # noqa: BLE001 - whatever it is, the query must end
        failure = _failure(error)
        state, reason = "FAILED", str(failure)
    finally:
        _connections.pop(job.query_id, None)
    total_ms = round((time.time() - execution["Status"]["SubmissionDateTime"]) * 1000)
    execution["Statistics"] |= {
        "EngineExecutionTimeInMillis": max(1, total_ms - queued_ms),
        "QueryPlanningTimeInMillis": min(20, total_ms - queued_ms),
        "QueryQueueTimeInMillis": queued_ms,
        "ServiceProcessingTimeInMillis": 0,
        "TotalExecutionTimeInMillis": max(1, total_ms),
    }
    _move(execution, state, reason, failure)


def _complete(execution: dict[str, Any], job: engine.Job) -> None:
    """Run the statement, or take an earlier result, and keep what Athena tells of a success."""
    reused = _reusable(execution)
    if reused is None:
        result = _run_in_engine(job)
        _write(execution, job, result)
    else:
        result = engine.Result(columns=reused["columns"], rows=reused["rows"], types=reused["types"])
        execution["ResultConfiguration"] = {"OutputLocation": reused["location"]}
    execution["_results"] = {"columns": result.columns, "rows": result.rows}
    execution["_column_types"] = result.types
    execution["Statistics"]["DataScannedInBytes"] = result.scanned_bytes
    execution["Statistics"]["ResultReuseInformation"] = {"ReusedPreviousResult": reused is not None}


def _failure(error: Exception) -> engine.Failure:
    if isinstance(error, engine.Failure):
        return error
    if isinstance(error, RecursionError):
        return engine.Failure("statement is too large (stack overflow during analysis)")
    return engine.Failure(f"GENERIC_INTERNAL_ERROR: {error}", 100, 1, retryable=True)


def _run_in_engine(job: engine.Job) -> engine.Result:
    if faults.next_athena_error(TRANSIENT):
        raise engine.Failure("Query exhausted resources at this scale factor", 0, 1, retryable=True)
    return engine.run(job)


def _write(execution: dict[str, Any], job: engine.Job, result: engine.Result) -> None:
    """Put the result where the execution says, and list what a statement wrote elsewhere."""
    uri = execution["ResultConfiguration"]["OutputLocation"]
    if result.manifest:
        manifest = f"{job.scratch}{job.query_id}-manifest.csv"
        engine.put_object(manifest, "\n".join(result.manifest).encode())
        execution["Statistics"]["DataManifestLocation"] = manifest
    elif uri.endswith(".csv"):
        lines = [_csv(result.columns), *map(_csv, result.rows)]
        engine.put_object(uri, "".join(f"{line}\n" for line in lines).encode())
    else:
        engine.put_object(uri, "".join(f"{row[0]}\n" for row in result.rows).encode())


def _csv(cells: Sequence[str | None]) -> str:
    """Athena quotes every value, and writes NULL as nothing at all."""
    return ",".join("" if cell is None else '"' + cell.replace('"', '""') + '"' for cell in cells)


def _reusable(execution: dict[str, Any]) -> dict[str, Any] | None:
    """The result of the same query, where the caller takes one of that age."""
    by_age = execution["ResultReuseConfiguration"].get("ResultReuseByAgeConfiguration", {})
    if not by_age.get("Enabled"):
        return None
    oldest = time.time() - 60 * by_age.get("MaxAgeInMinutes", 60)
    same = ("Query", "QueryExecutionContext", "ExecutionParameters", "WorkGroup")
    for other in list(athena._executions.values()):
        if (
            other["Status"]["State"] == "SUCCEEDED"
            and other["Status"]["CompletionDateTime"] >= oldest
            and all(other.get(name) == execution[name] for name in same)
        ):
            return {
                **other["_results"],
                "types": other["_column_types"],
                "location": other["ResultConfiguration"]["OutputLocation"],
            }
    return None


def _stop(data: dict[str, Any]) -> Any:
    query_id = data.get("QueryExecutionId", "")
    execution = athena._executions.get(query_id)
    if execution is None:
        return _refusal(
            dialect.Refused(f"QueryExecution {query_id} was not found", "QUERY_EXECUTION_NOT_FOUND")
        )
    _move(execution, "CANCELLED", "Query cancelled by user")
    if connection := _connections.get(query_id):
        connection.interrupt()
    return json_response({})


def _move(
    execution: dict[str, Any], state: str, reason: str | None = None, failure: engine.Failure | None = None
) -> bool:
    """Change the state and publish it. Return False if the query has ended before."""
    status = execution["Status"]
    with _state_lock:
        previous = status["State"]
        if previous in _TERMINAL:
            return False
        if state in _TERMINAL:
            status["CompletionDateTime"] = time.time()
        if reason:
            status["StateChangeReason"] = reason[:1024]
        if failure:
            status["AthenaError"] = {
                "ErrorCategory": failure.category,
                "ErrorType": failure.error_type,
                "Retryable": failure.retryable,
                "ErrorMessage": str(failure)[:1024],
            }
        status["State"] = state
    _tell(execution, previous)
    return True


def _tell(execution: dict[str, Any], previous: str | None) -> None:
    """Publish the state change in the shape that Athena's user guide gives."""
    execution["_events"] += 1
    status = execution["Status"]
    detail: dict[str, Any] = {
        "versionId": "0",
        "currentState": status["State"],
        "statementType": execution["StatementType"],
        "queryExecutionId": execution["QueryExecutionId"],
        "workgroupName": execution["WorkGroup"],
        "sequenceNumber": str(execution["_events"]),
    }
    if previous:
        detail["previousState"] = previous
    if status["State"] == "FAILED":
        error = status["AthenaError"]
        detail["athenaError"] = {
            "errorCategory": float(error["ErrorCategory"]),
            "errorType": float(error["ErrorType"]),
            "errorMessage": error["ErrorMessage"],
            "retryable": error["Retryable"],
        }
    eventbridge.delivery.publish(detail)
