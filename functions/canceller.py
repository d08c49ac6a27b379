"""Canceller: stops what an execution has left running once it ended without success.

It hears of the end from Step Functions' "Execution Status Change" event: ABORTED, TIMED_OUT or FAILED.
"""

from typing import Any

from functions import queries
from functions.observability import count, framed, logger
from functions.runtime import Runtime, runtime


class StartUnconfirmed(Exception):
    """A query was about to be started when its execution ended, and whether it was is not known yet.

    Lambda delivers the event again after one and two minutes, and then to the dead-letter queue.
    """


@framed
def handler(event: dict[str, Any]) -> None:
    run(event, runtime())


def run(event: dict[str, Any], aws: Runtime) -> None:
    """Stop the queries of the execution that still run. Raise StartUnconfirmed if one may be missing."""
    detail = event["detail"]
    execution_id, redrive_count = detail["executionArn"], int(detail.get("redriveCount") or 0)
    logger.append_keys(execution_id=execution_id)
    execution = aws.table.mark_gone(execution_id, redrive_count, aws.now())
    for started in execution.started:
        if started.redrive_count <= redrive_count:
            _stop(started.query_id, aws)
    if any(start.redrive_count <= redrive_count for start in execution.announced):
        # An executor that is alive will see that the execution is gone, and stop the query itself.
        raise StartUnconfirmed(f"a query of {execution_id} may have been started and not registered")


def _stop(query_id: str, aws: Runtime) -> None:
    if queries.look(aws.athena, query_id).ended:
        return
    queries.stop(aws.athena, query_id)
    count("OrphansStopped")
    logger.info("stopped", query_id=query_id)
