"""Executor: starts the query of an execution and stores the token of the task that waits for it.

"Start query", "Wait" and "Failed" all call it with a fresh task token. It is safe to repeat at every point:
an entry into "Start query" starts one query, and a newer token replaces an older one.
"""

from typing import Any

from functions import callbacks, queries
from functions.contract import read_input
from functions.errors import AthenaQueryError, InvalidInput, RunAgain
from functions.observability import label_list, lambda_handler, logger, measure_outcome
from functions.runtime import Runtime, get_runtime
from functions.settle import settle, settle_after_event
from functions.starts import deadline, ensure_query
from functions.task_table import Entry, QueryItem, Terms


@lambda_handler
def handler(event: dict[str, Any]) -> None:
    run(event, get_runtime())


def run(event: dict[str, Any], runtime: Runtime) -> None:
    """Start or find the query, store the task token, and settle the task if the query has already ended.

    `event` is `{TaskToken, StateName, Execution: {Id, Input, RedriveCount}, Start}`; "Failed" has no Input.
    """
    execution = event["Execution"]
    logger.append_keys(execution_id=execution["Id"])
    try:
        item = _store_token(event, runtime)
    except AthenaQueryError as error:
        # There is no query to wait for.
        logger.info("refused", error=error.name, labels=label_list(error.labels))
        if callbacks.fail(runtime.stepfunctions, event["TaskToken"], error):
            measure_outcome(error)
        return
    if item is None:
        return
    if event["StateName"] == "Failed":
        settle(runtime, item, "poll")
    elif _deadline_passed(item, runtime):
        _stop_at_deadline(item, runtime)
    elif item.recorded_state:
        settle_after_event(runtime, item, "executor")


def _store_token(event: dict[str, Any], runtime: Runtime) -> QueryItem | None:
    """Store the token in the item of the entry's query, which is started if it was not yet.

    Return None if the execution has ended since. Raise InvalidInput for a bad input, RunAgain if the
    execution was redriven since the entry, and what `ensure_query` raises.
    """
    execution, task_token = event["Execution"], event["TaskToken"]
    redrive_count = int(execution.get("RedriveCount") or 0)
    entry = Entry.read(execution["Id"], event["Start"])
    if redrive_count != entry.redrive_count:
        raise RunAgain("The execution was redriven.", next_attempt=1, redrive_count=redrive_count)
    if event["StateName"] != "Start query":
        known = runtime.table.find_execution(entry.execution_id).query_of(entry.id)
        item = runtime.table.store_token(known, task_token, None, runtime.now()) if known else None
        # A redrive that died between adopting a query and this left the terms of the earlier run.
        if item and item.terms and item.terms.redrive_count == redrive_count:
            return item
    if "Input" not in execution:
        raise InvalidInput(
            "input is larger than 256 KiB with its envelope, or nested too deeply to be parsed"
        )
    request = read_input(execution["Input"], runtime.settings)
    query_id = ensure_query(runtime, entry, request)
    if query_id is None:
        return None
    terms = Terms(
        execution_id=entry.execution_id,
        redrive_count=entry.redrive_count,
        attempt=entry.attempt,
        max_attempts=request.max_attempts,
        idempotent=request.idempotent,
        preview_rows=request.preview_rows,
        labels=request.labels,
        deadline=deadline(entry, request),
    )
    return runtime.table.store_token(query_id, task_token, terms, runtime.now())


def _deadline_passed(item: QueryItem, runtime: Runtime) -> bool:
    limit = item.terms.deadline if item.terms else None
    return limit is not None and runtime.now() >= limit


def _stop_at_deadline(item: QueryItem, runtime: Runtime) -> None:
    """Stop the query unless it has ended: then it was not stopped at its deadline."""
    if settle(runtime, item, "executor" if item.recorded_state else "poll"):
        return
    logger.info("deadline passed, query stopped")
    redrive_count = item.terms.redrive_count if item.terms else 0
    runtime.table.record_deadline(item.query_id, redrive_count, runtime.now())
    queries.stop(runtime.athena, item.query_id)
    if item.recorded_state:
        # The event may be that of an earlier stop, which Athena does not report yet.
        settle_after_event(runtime, runtime.table.find_query(item.query_id), "executor")
