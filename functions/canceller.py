"""Canceller: stops what an execution has left running once it ended without success.

It hears of the end from Step Functions' "Execution Status Change" event: ABORTED, TIMED_OUT or FAILED.
"""

from datetime import UTC, datetime
from typing import Any

from functions import queries
from functions.metric_names import Metric
from functions.observability import lambda_handler, logger, measure
from functions.runtime import Runtime, runtime
from functions.task_table import AnnouncedStart

# By then an executor that announced a start has registered it or is dead: its own timeout is 30 seconds.
CONFIRMATION_SECONDS = 45

# A clock of ours against Athena's.
_CLOCK_SKEW_SECONDS = 5


class StartUnconfirmed(Exception):
    """A query was about to be started as its execution ended, and it is too early to say whether it was.

    Lambda delivers the event again after one and two minutes, and then to the dead-letter queue.
    """


@lambda_handler
def handler(event: dict[str, Any]) -> None:
    run(event, runtime())


def run(event: dict[str, Any], aws: Runtime) -> None:
    """Stop the queries of the execution that still run. Raise StartUnconfirmed if one may still appear."""
    detail = event["detail"]
    execution_id, redrive_count = detail["executionArn"], int(detail.get("redriveCount") or 0)
    logger.append_keys(execution_id=execution_id)
    execution = aws.table.mark_ended(execution_id, redrive_count, aws.now())
    for started in execution.started:
        if (
            started.redrive_count <= redrive_count
            and not queries.get_query(aws.athena, started.query_id).ended
        ):
            _stop(started.query_id, aws)
    unconfirmed = [start for start in execution.announced if start.redrive_count <= redrive_count]
    for start in unconfirmed:
        if aws.now() < start.at + CONFIRMATION_SECONDS:
            # If its executor is alive it will see that the execution is gone, and stop the query itself.
            raise StartUnconfirmed(f"a query of {execution_id} may still be started")
        _sweep(start, aws)


def _sweep(start: AnnouncedStart, aws: Runtime) -> None:
    """Stop the query of an executor that died between starting it and registering it.

    Nothing names such a query: it runs the announced statement in our workgroup, was submitted in that time,
    and is in no item of the table.
    """
    since = datetime.fromtimestamp(start.entered - _CLOCK_SKEW_SECONDS, UTC)
    until = datetime.fromtimestamp(start.at + CONFIRMATION_SECONDS, UTC)
    for query_id, digest in queries.running(aws.athena, aws.settings.work_group, since=since, until=until):
        if digest == start.statement_digest and aws.table.find_query(query_id).terms is None:
            _stop(query_id, aws)


def _stop(query_id: str, aws: Runtime) -> None:
    queries.stop(aws.athena, query_id)
    measure(Metric.ORPHANS_STOPPED)
    logger.info("stopped", query_id=query_id)
