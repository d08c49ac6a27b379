"""Executor: starts the query of an execution and registers the task that waits for it.

"Start query", "Wait" and "Failed" all call it with a fresh task token. It is safe to repeat at every point:
an entry into "Start query" starts one query, and a newer token replaces an older one.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions import callbacks, queries
from functions.contract import Request, read_input
from functions.errors import AthenaQueryError, RunAgain, TimedOut
from functions.metric_names import Metric
from functions.observability import lambda_handler, logger, measure, measure_outcome
from functions.runtime import Runtime, runtime
from functions.settle import settle
from functions.task_table import Entry, Terms


@dataclass(frozen=True, kw_only=True)
class Job:
    """One entry into "Start query": what the caller asked for, and by when (epoch seconds)."""

    execution_id: str
    entry: Entry
    request: Request
    deadline: float | None


@lambda_handler
def handler(event: dict[str, Any]) -> None:
    run(event, runtime())


def run(event: dict[str, Any], aws: Runtime) -> None:
    """Start or find the query, store the task token, and settle at once what has already ended."""
    logger.append_keys(execution_id=event["Execution"]["Id"])
    try:
        job = _read_job(event, aws)
        query_id = _start(job, aws)
    except AthenaQueryError as error:
        # Found before there was a query to wait for.
        logger.info("refused", error=error.name)
        if callbacks.fail(aws.stepfunctions, event["TaskToken"], error):
            measure_outcome(error)
        return
    if query_id is None:
        return
    logger.append_keys(query_id=query_id)
    # One that has ended was not stopped at its deadline, however late its end is noticed.
    if _late(job, aws) and not queries.get_query(aws.athena, query_id).ended:
        aws.table.record_deadline(query_id, aws.now())
        queries.stop(aws.athena, query_id)
    terms = Terms(
        execution_id=job.execution_id,
        redrive_count=job.entry.redrive_count,
        attempt=job.entry.attempt,
        max_attempts=job.request.max_attempts,
        idempotent=job.request.idempotent,
        preview_rows=job.request.preview_rows,
        deadline=job.deadline,
    )
    item = aws.table.store_token(query_id, event["TaskToken"], terms, aws.now())
    if event["StateName"] != "Start query":
        settle(aws, item, "poll")
    elif item.recorded_state:
        settle(aws, item, "executor")


def _read_job(event: dict[str, Any], aws: Runtime) -> Job:
    """Raise InvalidInput for a bad input, RunAgain if the execution was redriven since the entry."""
    execution, start = event["Execution"], event["Start"]
    # First of all: nothing else of an execution's input may be relied on before it is checked.
    request = read_input(execution["Input"], aws.settings)
    entry = Entry.read(execution["Id"], start)
    redrive_count = execution.get("RedriveCount", 0)
    if redrive_count != entry.redrive_count:
        raise RunAgain("The execution was redriven.", next_attempt=1, redrive_count=redrive_count)
    deadline = None
    if request.timeout_seconds is not None:
        # A redriven state may keep the time of its first entry.
        redriven = execution.get("RedriveTime")
        begun = max(entry.entered, datetime.fromisoformat(redriven).timestamp() if redriven else 0.0)
        deadline = begun + request.timeout_seconds
    return Job(execution_id=execution["Id"], entry=entry, request=request, deadline=deadline)


def _start(job: Job, aws: Runtime) -> str | None:
    """The id of the entry's query, started if it was not yet; None if the execution is gone meanwhile."""
    statement = queries.resolve(aws.athena, job.request, aws.settings)
    announced_at = aws.now()
    known = aws.table.announce_start(job.execution_id, job.entry, statement.digest, announced_at)
    query_id = known.query_of(job.entry.id)
    if query_id is None:
        # An executor that announced the same start and died may have started the query: its trace stays then,
        # and starting it again gets the same one back.
        first = not known.announces(job.entry.id)
        try:
            if known.gone >= job.entry.redrive_count:
                logger.info("execution is gone, nothing started")
                if first:
                    aws.table.withdraw_start(job.execution_id, job.entry, statement.digest, announced_at)
                return None
            if first and _late(job, aws):
                raise TimedOut(
                    "The deadline (TimeoutSeconds) passed before Athena had room for the query.",
                )
            query_id = queries.start(aws.athena, statement, job.request, aws.settings, job.entry.id)
        except AthenaQueryError as error:
            error.attempts = job.entry.attempt - 1
            if first:
                aws.table.withdraw_start(job.execution_id, job.entry, statement.digest, announced_at)
            raise
        logger.info("started", query_id=query_id, attempt=job.entry.attempt)
    known = aws.table.register_start(job.execution_id, job.entry, query_id, aws.now())
    if known.gone >= job.entry.redrive_count:
        logger.info("execution is gone, query stopped", query_id=query_id)
        queries.stop(aws.athena, query_id)
        measure(Metric.ORPHANS_STOPPED)
        return None
    return query_id


def _late(job: Job, aws: Runtime) -> bool:
    return job.deadline is not None and aws.now() >= job.deadline
