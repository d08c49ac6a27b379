"""Checker: hears of a query's end from Athena's event, and looks for itself when the state machine asks.

The event may come before the task token is stored, twice, or for a query that nobody registered. Then it is
only noted.
"""

import math
from typing import Any

from functions import queries
from functions.observability import lambda_handler, logger
from functions.runtime import Runtime, runtime
from functions.settle import report, settle, success
from functions.task_table import Entry, Terms


@lambda_handler
def handler(event: dict[str, Any]) -> dict[str, Any] | None:
    return run(event, runtime())


def run(event: dict[str, Any], aws: Runtime) -> dict[str, Any] | None:
    """Take an "Athena Query State Change" event, or answer "Get query status"."""
    if "detail-type" in event:
        take_event(event["detail"], aws)
        return None
    return query_status(event, aws)


def take_event(detail: dict[str, Any], aws: Runtime) -> None:
    """Note the state that the event tells of, and settle the task that waits for it."""
    query_id, state = detail["queryExecutionId"], detail["currentState"]
    logger.append_keys(query_id=query_id)
    item = aws.table.record_state(query_id, state, aws.now())
    if item.task_token is None:
        logger.info("noted", state=state)
    settle(aws, item, "event")


def query_status(event: dict[str, Any], aws: Runtime) -> dict[str, Any]:
    """Answer `{QueryId, State, WaitSeconds}`, and `Output` once the query has succeeded.

    State is UNKNOWN while no query is registered for the entry into "Start query".
    """
    entry = Entry.read(event["ExecutionId"], event["Start"])
    logger.append_keys(execution_id=event["ExecutionId"])
    query_id = aws.table.find_execution(event["ExecutionId"]).query_of(entry.id)
    terms = aws.table.find_query(query_id).terms if query_id else None
    if query_id is None or terms is None:
        return {"QueryId": query_id, "State": "UNKNOWN", "WaitSeconds": aws.settings.poll_seconds}
    query = queries.get_query(aws.athena, query_id)
    logger.info("looked", query_id=query_id, state=query.state)
    answer: dict[str, Any] = {
        "QueryId": query_id,
        "State": query.state,
        "WaitSeconds": _wait_seconds(terms, aws),
    }
    if query.state == "SUCCEEDED":
        answer["Output"] = success(aws, query, terms, "poll")
        report(aws, query, terms, "poll", None)
    return answer


def _wait_seconds(terms: Terms, aws: Runtime) -> int:
    """Until the next look: a poll interval, or less where the query's deadline comes first."""
    interval = aws.settings.poll_seconds
    left = interval if terms.deadline is None else math.ceil(terms.deadline - aws.now())
    return min(interval, left) if left > 0 else interval
