"""Canceller: stops the queries that an execution left running when it ended without success.

It receives the end in Step Functions' "Execution Status Change" event: ABORTED, TIMED_OUT or FAILED. Its
delivery is best effort, and an outage can outlast its retries, so a schedule invokes the canceller too: the
sweep cleans up after every end that was missed, and measures how long executions have been stuck.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from functions import queries
from functions.contract import read_input
from functions.errors import AthenaQueryError, ServiceFault, Throttled
from functions.events import SCHEDULED_EVENT, UNSUCCESSFUL_STATUSES
from functions.executions import list_since
from functions.metric_names import Metric
from functions.observability import lambda_handler, logger, measure
from functions.runtime import Runtime, get_runtime
from functions.starts import find_announced, stop_orphan
from functions.sweep import WINDOW, clean_up_each
from functions.task_table import AnnouncedStart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_stepfunctions.type_defs import ExecutionListItemTypeDef

# A status event arrives within seconds.
_EVENT_DELAY = timedelta(minutes=1)


@lambda_handler
def handler(event: dict[str, Any]) -> None:
    run(event, get_runtime())


def run(event: dict[str, Any], runtime: Runtime) -> None:
    """Take an "Execution Status Change" event, or sweep at a "Scheduled Event"."""
    if event["detail-type"] == SCHEDULED_EVENT:
        sweep(runtime)
        return
    detail = event["detail"]
    execution_id, redrive_count = detail["executionArn"], int(detail.get("redriveCount") or 0)
    clean_up(execution_id, redrive_count, runtime)
    if detail["status"] == "FAILED":
        _count_failure(execution_id, redrive_count, runtime)


def clean_up(execution_id: str, redrive_count: int, runtime: Runtime) -> None:
    """Stop the queries that the execution's runs up to this redrive have left running."""
    logger.append_keys(execution_id=execution_id)
    execution = runtime.table.mark_ended(execution_id, redrive_count, runtime.now())
    for query_id in execution.queries_left_by(redrive_count):
        if not queries.get_query(runtime.athena, query_id).ended:
            stop_orphan(runtime, query_id)
    unconfirmed = [start for start in execution.announced if start.redrive_count <= redrive_count]
    if unconfirmed:
        # An executor was about to start a query, and is either still running or has crashed.
        try:
            _confirm(execution_id, unconfirmed, runtime)
        except Throttled:
            # Athena may have no capacity for hours, which is not a fault of this function: the sweeps retry.
            logger.warning("start unconfirmed")
            return
    runtime.table.mark_cleaned_up(execution_id, redrive_count, runtime.now())


def _confirm(execution_id: str, unconfirmed: list[AnnouncedStart], runtime: Runtime) -> None:
    """Stop the queries that were started and never registered. Raise Throttled if Athena is too busy."""
    answer = runtime.stepfunctions.describe_execution(executionArn=execution_id)
    try:
        request = read_input(json.loads(answer["input"]), runtime.settings)
        for start in unconfirmed:
            found = find_announced(runtime, start, request)
            if found is None:
                runtime.table.drop_announcement(execution_id, start.entry_id, runtime.now())
            else:
                runtime.table.register_announced(execution_id, start, found, runtime.now())
                stop_orphan(runtime, found)
    except Throttled:
        raise
    except AthenaQueryError as refused:
        raise ServiceFault(f"StartQueryExecution: {refused.name}") from None


def _count_failure(execution_id: str, redrive_count: int, runtime: Runtime) -> None:
    """Count failures that no other function can count: untyped errors, and Throttled as the final error."""
    execution = runtime.stepfunctions.describe_execution(executionArn=execution_id)
    if execution["status"] == "RUNNING" and execution.get("redriveCount", 0) <= redrive_count:
        # DescribeExecution is eventually consistent (API reference). Lambda retries the event in a minute.
        raise ServiceFault("DescribeExecution: the end is not visible yet")
    error = execution.get("error", "")
    if error == "AthenaQuery.Throttled":
        measure(Metric.THROTTLED)
    elif error and not error.startswith("AthenaQuery."):
        measure(Metric.UNTYPED_FAILURES)
        logger.error("execution failed without a typed error", error=error)


def sweep(runtime: Runtime) -> None:
    """Measure how long executions have been stuck, and clean up after ends that no event reported."""
    measure(Metric.OLDEST_STUCK_EXECUTION, _oldest_stuck_seconds(runtime))
    ends = {execution["executionArn"]: execution for execution in _recent_ends(runtime)}
    known = runtime.table.find_executions(list(ends))

    def clean(execution: "ExecutionListItemTypeDef") -> None:
        execution_id, redrive_count = execution["executionArn"], execution.get("redriveCount", 0)
        if known[execution_id].cleaned_up >= redrive_count:
            return
        missed = known[execution_id].ended < redrive_count and _ended_long_ago(execution, runtime)
        if missed:
            measure(Metric.STATUS_EVENTS_MISSED)
        clean_up(execution_id, redrive_count, runtime)
        if missed and execution["status"] == "FAILED":
            _count_failure(execution_id, redrive_count, runtime)

    clean_up_each(ends.values(), clean)


def _ended_long_ago(execution: "ExecutionListItemTypeDef", runtime: Runtime) -> bool:
    now = datetime.fromtimestamp(runtime.now(), UTC)
    return "stopDate" in execution and execution["stopDate"] < now - _EVENT_DELAY


def _recent_ends(runtime: Runtime) -> "Iterator[ExecutionListItemTypeDef]":
    """The executions that ended without success and may have left something running."""
    now = datetime.fromtimestamp(runtime.now(), UTC)
    stepfunctions, arn = runtime.stepfunctions, runtime.settings.state_machine_arn
    for status in UNSUCCESSFUL_STATUSES:
        yield from list_since(stepfunctions, arn, now - WINDOW, statusFilter=status)


def _oldest_stuck_seconds(runtime: Runtime) -> float:
    """The longest time that a running execution has waited for an ended query, or has had no query."""
    now = datetime.fromtimestamp(runtime.now(), UTC)
    stepfunctions, arn = runtime.stepfunctions, runtime.settings.state_machine_arn
    # An execution runs for two days at most (its document's TimeoutSeconds).
    running = list(list_since(stepfunctions, arn, now - WINDOW, statusFilter="RUNNING"))
    items = runtime.table.find_executions([execution["executionArn"] for execution in running])
    stuck_since = [now]
    waiting = {}
    for execution in running:
        newest = items[execution["executionArn"]].newest_query
        begun = execution.get("redriveDate") or execution["startDate"]
        if newest is None or newest.redrive_count < execution.get("redriveCount", 0):
            stuck_since.append(begun)
        else:
            waiting[newest.query_id] = begun
    ended = queries.completion_times(runtime.athena, list(waiting))
    for query_id, item in runtime.table.find_queries(list(ended)).items():
        # A removed token has been used: the execution continues without it, for example after "Back off".
        if item.task_token:
            # A redrive may have adopted a query that ended long before.
            stuck_since.append(max(ended[query_id], waiting[query_id]))
    return round((now - min(stuck_since)).total_seconds(), 3)
