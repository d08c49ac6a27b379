"""Settle a task: read its query from Athena, send Step Functions the outcome, remove the token."""

import json
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from functions import callbacks, queries
from functions.errors import AthenaQueryError
from functions.metric_names import Metric
from functions.observability import fault_name, label_list, logger, measure, measure_outcome
from functions.outcome import error_of, estimated_cost_usd, output_of
from functions.queries import Query
from functions.runtime import Runtime
from functions.task_table import QueryItem, Terms

SettledBy = Literal["event", "executor", "poll"]

# A completion event may arrive a moment before GetQueryExecution reports the end. Without these polls such a
# query would wait for the fallback.
_POLL_AGAIN_SECONDS = (0.5, 1.0, 2.0)

_SETTLED_BY = {
    "event": Metric.SETTLED_BY_EVENT,
    "executor": Metric.SETTLED_BY_EXECUTOR,
    "poll": Metric.SETTLED_BY_POLL,
}


def settle_after_event(runtime: Runtime, item: QueryItem, by: SettledBy) -> None:
    """Settle the task that waits for a query whose completion event has arrived."""
    if settle(runtime, item, by):
        return
    for seconds in _POLL_AGAIN_SECONDS:
        runtime.sleep(seconds)
        # Meanwhile another task may wait for it, or none.
        if settle(runtime, runtime.table.find_query(item.query_id), by):
            return


def settle(runtime: Runtime, item: QueryItem, by: SettledBy) -> bool:
    """Settle the task that waits for the query, if there is one. Return False if the query has not ended.

    An event may be wrong, and Athena has been seen to resume after FAILED, so GetQueryExecution decides.
    """
    if item.task_token is None or item.terms is None:
        return True
    query = queries.get_query(runtime.athena, item.query_id)
    if not query.ended:
        logger.info("not ended yet", query_id=query.query_id, state=query.state)
        return False
    error: AthenaQueryError | None = None
    if query.state == "SUCCEEDED":
        output = success(runtime, query, item.terms, by)
        document = json.dumps(output, ensure_ascii=False)
        delivered = callbacks.succeed(runtime.stepfunctions, item.task_token, document)
    else:
        # A stop is recorded before it is sent, which may have been after the item was read.
        marked = runtime.table.find_query(item.query_id) if query.state == "CANCELLED" else item
        error = error_of(query, marked, item.terms, runtime.settings)
        delivered = callbacks.fail(runtime.stepfunctions, item.task_token, error)
    if delivered:
        report(runtime, query, item.terms, by, error)
    else:
        measure(Metric.LATE_CALLBACKS)
        logger.info("task no longer waits", query_id=query.query_id, state=query.state)
    runtime.table.remove_token(item.query_id, item.task_token)
    return True


def success(runtime: Runtime, query: Query, terms: Terms, by: SettledBy) -> dict[str, Any]:
    """The execution's output, with the preview where it was requested."""
    output = output_of(query, terms, settled_by=by, settings=runtime.settings)
    if terms.preview_rows:
        try:
            output["Preview"] = queries.preview(runtime.athena, query, terms.preview_rows)
        except (ClientError, BotoCoreError) as unreadable:
            # The query succeeded, and its result is at the output location.
            output["Preview"] = None
            logger.warning("no preview", query_id=query.query_id, fault=fault_name(unreadable))
        except Exception as unreadable:  # noqa: BLE001 - a preview may not fail a query that succeeded
            output["Preview"] = None
            logger.warning("no preview", query_id=query.query_id, fault=type(unreadable).__name__)
    return output


def report(
    runtime: Runtime, query: Query, terms: Terms, by: SettledBy, error: AthenaQueryError | None
) -> None:
    """Metrics of a settled query, and the one log line that explains it."""
    lag_ms = max(0.0, (runtime.now() - query.completed.timestamp()) * 1000) if query.completed else 0.0
    cost = estimated_cost_usd(query, runtime.settings.usd_per_terabyte)
    outcome = type(error).__name__ if error else "Succeeded"
    measure_outcome(error)
    measure(_SETTLED_BY[by])
    measure(Metric.CALLBACK_LAG, lag_ms)
    measure(Metric.DATA_SCANNED, query.scanned_bytes)
    measure(Metric.ESTIMATED_COST, cost)
    measure(Metric.QUEUE_TIME, query.queue_ms)
    measure(Metric.PLANNING_TIME, query.planning_ms)
    measure(Metric.ENGINE_TIME, query.engine_ms)
    logger.info(
        "settled",
        query_id=query.query_id,
        execution_id=terms.execution_id,
        outcome=outcome,
        state=query.state,
        settled_by=by,
        lag_ms=round(lag_ms),
        attempt=terms.attempt,
        labels=label_list(terms.labels),
        statement_type=query.statement_type,
        error_category=query.error_category,
        error_type=query.error_type,
        scanned_bytes=query.scanned_bytes,
        reused_result=query.reused_result,
        cost_usd=cost,
        queue_ms=query.queue_ms,
        planning_ms=query.planning_ms,
        engine_ms=query.engine_ms,
        total_ms=query.total_ms,
    )
