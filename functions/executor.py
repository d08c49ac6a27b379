"""Executor: starts the query of an execution and registers the task that waits for it.

"Start query", "Wait" and "Failed" all call it with a fresh task token. It is safe to repeat at every point: an
entry into "Start query" starts one query, and a newer token replaces an older one.
"""

from dataclasses import dataclass
from typing import Any

from functions import callbacks, queries
from functions.contract import Request, read_input
from functions.errors import AthenaQueryError, RunAgain, Throttled, TimedOut
from functions.observability import count, framed, logger
from functions.runtime import Runtime, runtime
from functions.settle import settle
from functions.task_table import Entry, Terms


@dataclass(frozen=True, kw_only=True)
class Task:
    """The state machine's call. `redrive_count` is the execution's now, `entry.redrive_count` the entry's."""

    token: str
    execution_id: str
    state_name: str
    redrive_count: int
    entry: Entry
    document: Any

    @classmethod
    def read(cls, event: dict[str, Any]) -> "Task":
        return cls(
            token=event["TaskToken"],
            execution_id=event["ExecutionId"],
            state_name=event["StateName"],
            redrive_count=int(event["RedriveCount"]),
            entry=Entry.read(event["ExecutionId"], event["Entry"]),
            document=event["Input"],
        )

    @property
    def first_look(self) -> bool:
        return self.state_name == "Start query"


@framed
def handler(event: dict[str, Any]) -> None:
    run(event, runtime())


def run(event: dict[str, Any], aws: Runtime) -> None:
    """Start or find the query, store the token, and settle at once what has already ended."""
    task = Task.read(event)
    logger.append_keys(execution_id=task.execution_id)
    try:
        if task.redrive_count != task.entry.redrive_count:
            raise RunAgain("The execution was redriven.", next_attempt=1)
        request = read_input(task.document, aws.settings)
        query_id = _start(task, request, aws)
    except AthenaQueryError as error:
        _refuse(task, error, aws)
        return
    if query_id is None:
        return
    logger.append_keys(query_id=query_id)
    deadline = _deadline(task, request)
    if deadline is not None and aws.now() >= deadline:
        aws.table.note_deadline(query_id, aws.now())
        queries.stop(aws.athena, query_id)
    terms = Terms(
        execution_id=task.execution_id,
        attempt=task.entry.attempt,
        max_attempts=request.max_attempts,
        idempotent=request.idempotent,
        preview_rows=request.preview_rows,
        deadline=deadline,
    )
    item = aws.table.offer_token(query_id, task.token, terms, aws.now())
    if item.noted_state or not task.first_look:
        settle(aws, item, "executor" if task.first_look else "poll")


def _start(task: Task, request: Request, aws: Runtime) -> str | None:
    """The id of the entry's query, started if it was not yet; None if the execution is gone meanwhile."""
    known = aws.table.announce_start(task.execution_id, task.entry, aws.now())
    query_id = known.query_of(task.entry.id)
    try:
        if query_id is None:
            if known.gone >= task.entry.redrive_count:
                logger.info("execution is gone, nothing started")
                aws.table.withdraw_start(task.execution_id, task.entry, aws.now())
                return None
            deadline = _deadline(task, request)
            if deadline is not None and aws.now() >= deadline:
                raise TimedOut("The deadline (TimeoutSeconds) passed before Athena had room for the query.")
            query_id = queries.start(aws.athena, request, aws.settings, task.entry.id)
            logger.info("started", query_id=query_id, attempt=task.entry.attempt)
    except AthenaQueryError:
        aws.table.withdraw_start(task.execution_id, task.entry, aws.now())
        raise
    known = aws.table.register_start(task.execution_id, task.entry, query_id, aws.now())
    if known.gone >= task.entry.redrive_count:
        logger.info("execution is gone, query stopped", query_id=query_id)
        queries.stop(aws.athena, query_id)
        count("OrphansStopped")
        return None
    return query_id


def _refuse(task: Task, error: AthenaQueryError, aws: Runtime) -> None:
    """Fail the task for a reason found before there was a query to wait for."""
    error.attempts = task.entry.attempt - 1
    if callbacks.fail(aws.stepfunctions, task.token, error):
        count("ThrottledStarts" if isinstance(error, Throttled) else type(error).__name__)
    logger.info("refused", error=error.name, attempt=task.entry.attempt)


def _deadline(task: Task, request: Request) -> float | None:
    return None if request.timeout_seconds is None else task.entry.entered + request.timeout_seconds
