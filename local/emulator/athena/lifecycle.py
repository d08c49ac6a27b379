"""The life of a query: QUEUED, RUNNING, and a terminal state. Each change is published."""

import contextvars
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import duckdb
from ministack.services import athena

from local.emulator import eventbridge
from local.emulator.athena import duckdb_errors, engine, results
from local.emulator.athena.errors import Failure, ScanLimitExceeded, internal, resources_exhausted, timed_out
from local.emulator.athena.job import Job
from local.emulator.faults import TRANSIENT, faults

TERMINAL = {"SUCCEEDED", "FAILED", "CANCELLED"}
_REASON_CHARACTERS = 1024
# The default quota "DML query timeout" (Athena endpoints and quotas), in seconds.
_LIMIT_SECONDS = 30 * 60
_INTERRUPT_SECONDS = 0.05

# Queries beyond these wait as QUEUED, as on Athena.
_workers = ThreadPoolExecutor(max_workers=8, thread_name_prefix="athena")
_connections: dict[str, duckdb.DuckDBPyConnection] = {}
_lock = threading.Lock()


def begin(execution: dict[str, Any], job: Job) -> "Future[None]":
    """Publish the query as QUEUED, and run it when a worker is free."""
    athena._executions[job.query_id] = execution
    _publish(execution, None)
    # In the account and region of the request.
    return _workers.submit(contextvars.copy_context().run, _run, execution, job)


def stop(execution: dict[str, Any]) -> None:
    """Cancel a query. One that has ended does not change."""
    _move(execution, "CANCELLED", "Query cancelled by user")
    threading.Thread(target=_interrupt, args=(execution,), daemon=True).start()


def _time_out(execution: dict[str, Any]) -> None:
    """Fail a query that has run for too long."""
    failure = timed_out()
    _move(execution, "FAILED", str(failure), failure)
    _interrupt(execution)


def _interrupt(execution: dict[str, Any]) -> None:
    """DuckDB forgets an interruption between two statements, so it is repeated until the query ends."""
    while connection := _connections.get(execution["QueryExecutionId"]):
        connection.interrupt()
        time.sleep(_INTERRUPT_SECONDS)


def _connect(execution: dict[str, Any], db: duckdb.DuckDBPyConnection) -> None:
    """Raise Failure if the query has ended before it reached DuckDB."""
    _connections[execution["QueryExecutionId"]] = db
    if execution["Status"]["State"] in TERMINAL:
        raise Failure("the query has ended")


def _run(execution: dict[str, Any], job: Job) -> None:
    submitted = execution["Status"]["SubmissionDateTime"]
    queued_ms = round((time.time() - submitted) * 1000)
    if not _move(execution, "RUNNING"):
        return
    failure = None
    timer = threading.Timer(_LIMIT_SECONDS, contextvars.copy_context().run, (_time_out, execution))
    timer.daemon = True
    timer.start()
    try:
        began, seconds = time.monotonic(), faults.query_seconds
        _complete(execution, job)
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        state, reason = "SUCCEEDED", None
    except ScanLimitExceeded as limit:
        execution["Statistics"]["DataScannedInBytes"] = limit.scanned_bytes
        state, reason = "CANCELLED", str(limit)
    except Exception as error:  # noqa: BLE001 - whatever it is, the query must end
        failure = _failure(error)
        state, reason = "FAILED", str(failure)
    finally:
        timer.cancel()
        _connections.pop(job.query_id, None)
    total_ms = max(1, round((time.time() - submitted) * 1000))
    execution["Statistics"] = {
        "DataScannedInBytes": 0,
        "EngineExecutionTimeInMillis": max(1, total_ms - queued_ms),
        "QueryPlanningTimeInMillis": min(20, total_ms - queued_ms),
        "QueryQueueTimeInMillis": queued_ms,
        "ServiceProcessingTimeInMillis": 0,
        "TotalExecutionTimeInMillis": total_ms,
    } | execution["Statistics"]
    _move(execution, state, reason, failure)


def _complete(execution: dict[str, Any], job: Job) -> None:
    """Run the statement or reuse an earlier result, and record what Athena reports for a success."""
    reused = _reusable(execution)
    if reused is None:
        if faults.next_athena_error(TRANSIENT):
            raise resources_exhausted()
        result = engine.run(replace(job, connected=partial(_connect, execution)))
        if manifest := results.write(job, result):
            execution["Statistics"]["DataManifestLocation"] = manifest
        execution["Statistics"]["DataScannedInBytes"] = result.scanned_bytes
    else:
        result = reused["_result"]
        execution["ResultConfiguration"] = reused["ResultConfiguration"]
    execution["_result"] = result
    execution["Statistics"]["ResultReuseInformation"] = {"ReusedPreviousResult": reused is not None}


def _failure(error: Exception) -> Failure:
    if isinstance(error, Failure):
        return error
    if isinstance(error, RecursionError):
        return Failure("GENERIC_USER_ERROR: statement is too large (stack overflow during analysis)")
    if isinstance(error, duckdb.Error):
        return duckdb_errors.failure(error)
    return internal(error)


def _reusable(execution: dict[str, Any]) -> dict[str, Any] | None:
    """An earlier execution of the same query, if the caller accepts a result of its age."""
    by_age = execution["ResultReuseConfiguration"].get("ResultReuseByAgeConfiguration", {})
    if not by_age.get("Enabled") or execution["SubstatementType"] != "SELECT":
        return None
    oldest = time.time() - 60 * by_age.get("MaxAgeInMinutes", 60)
    same = ("Query", "QueryExecutionContext", "ExecutionParameters", "WorkGroup")
    for other in list(athena._executions.values()):
        if (
            other["Status"]["State"] == "SUCCEEDED"
            and other["Status"]["CompletionDateTime"] >= oldest
            and all(other.get(name) == execution.get(name) for name in same)
        ):
            return dict(other)
    return None


def _move(
    execution: dict[str, Any], state: str, reason: str | None = None, failure: Failure | None = None
) -> bool:
    """Change the state and publish it. Return False if the query has ended already."""
    status = execution["Status"]
    with _lock:
        previous = status["State"]
        if previous in TERMINAL:
            return False
        if state in TERMINAL:
            status["CompletionDateTime"] = time.time()
        if reason:
            status["StateChangeReason"] = reason[:_REASON_CHARACTERS]
        if failure:
            status["AthenaError"] = {
                "ErrorCategory": failure.category,
                "ErrorType": failure.error_type,
                "Retryable": failure.retryable,
                "ErrorMessage": str(failure)[:_REASON_CHARACTERS],
            }
        status["State"] = state
    _publish(execution, previous)
    return True


def _publish(execution: dict[str, Any], previous: str | None) -> None:
    """The state change in the format of Athena's user guide."""
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
