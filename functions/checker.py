"""Checker: receives Athena's completion events, and polls Athena for the state machine.

An event may arrive before the task token is stored, twice, or for a query that is not registered. Then it is
only recorded.
"""

import math
from typing import Any

from functions import queries
from functions.observability import lambda_handler, logger
from functions.queries import Query
from functions.runtime import Runtime, get_runtime
from functions.settle import report, settle_after_event, success
from functions.task_table import Entry, QueryItem

_UNREGISTERED_SECONDS = 5


@lambda_handler
def handler(event: dict[str, Any]) -> dict[str, Any] | None:
    return run(event, get_runtime())


def run(event: dict[str, Any], runtime: Runtime) -> dict[str, Any] | None:
    """Handle an "Athena Query State Change" event, or a poll from "Get query status"."""
    if "detail-type" in event:
        take_event(event["detail"], runtime)
        return None
    return query_status(event, runtime)


def take_event(detail: dict[str, Any], runtime: Runtime) -> None:
    """Record the state of the event, and settle the task that waits for the query."""
    query_id, state = detail["queryExecutionId"], detail["currentState"]
    logger.append_keys(query_id=query_id)
    item = runtime.table.record_state(query_id, state, runtime.now())
    if item.task_token is None:
        logger.info("recorded", state=state)
    settle_after_event(runtime, item, "event")


def query_status(event: dict[str, Any], runtime: Runtime) -> dict[str, Any]:
    """Return `{QueryId, State, WaitSeconds}`, and `Output` once the query has succeeded.

    `event` is `{ExecutionId, Start}`. State is UNKNOWN while no query is registered for the entry.
    """
    entry = Entry.read(event["ExecutionId"], event["Start"])
    logger.append_keys(execution_id=entry.execution_id)
    query_id = runtime.table.find_execution(entry.execution_id).query_of(entry.id)
    item = runtime.table.find_query(query_id) if query_id else None
    if item is None or item.terms is None or item.terms.redrive_count != entry.redrive_count:
        # An executor may be about to register it, and its deadline is not known yet. The next one has to
        # answer within this time, or its token is void.
        seconds = max(_UNREGISTERED_SECONDS, _share_of_age(entry, runtime))
        return {"QueryId": query_id, "State": "UNKNOWN", "WaitSeconds": seconds}
    query = queries.get_query(runtime.athena, item.query_id)
    logger.info("polled", query_id=query.query_id, state=query.state)
    answer: dict[str, Any] = {
        "QueryId": query.query_id,
        "State": query.state,
        "WaitSeconds": _wait_seconds(entry, item, query, runtime),
    }
    if query.state == "SUCCEEDED":
        answer["Output"] = success(runtime, query, item.terms, "poll")
        report(runtime, query, item.terms, "poll", None)
    return answer


def _share_of_age(entry: Entry, runtime: Runtime) -> int:
    """In seconds. Polling at a share of the age keeps the number of polls logarithmic in the duration."""
    return math.floor((runtime.now() - entry.entered) * runtime.settings.poll_growth)


def _poll_interval(entry: Entry, runtime: Runtime) -> int:
    return max(runtime.settings.poll_seconds, _share_of_age(entry, runtime))


def _wait_seconds(entry: Entry, item: QueryItem, query: Query, runtime: Runtime) -> int:
    """Until the next poll: the interval, or less if the query has to be stopped at its deadline."""
    interval = _poll_interval(entry, runtime)
    if query.ended or item.terms is None or item.terms.deadline is None or item.stopped_at_deadline:
        return interval
    # The clock of the executor that is to stop it may be behind this one, so there is always another poll.
    return min(interval, max(1, math.ceil(item.terms.deadline - runtime.now())))
