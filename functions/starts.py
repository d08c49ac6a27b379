"""Starts one query for each entry into "Start query", whatever fails in between.

A start is announced in the execution's item, submitted to Athena, and confirmed in that item. An executor
that dies in between leaves the announcement. Athena's idempotency then shows whether a query was
started, because it accepts a ClientRequestToken for one statement only: `find_announced`.
"""

from functions import queries
from functions.contract import Request
from functions.errors import AthenaQueryError, InvalidRequest, ServiceFault, Throttled, TimedOut
from functions.events import TERMINAL_STATES
from functions.metric_names import Metric
from functions.observability import logger, measure
from functions.runtime import Runtime
from functions.task_table import AnnouncedStart, Entry, ExecutionItem, Statement

_TOO_LATE = "The deadline (TimeoutSeconds) passed before Athena had capacity for the query."


def ensure_query(runtime: Runtime, entry: Entry, request: Request) -> str | None:
    """The id of the entry's query, started if it was not yet; None if the execution has ended since.

    Raise InvalidRequest or Throttled if Athena refuses it, TimedOut if its deadline passed before it started.
    """
    try:
        return _ensure(runtime, entry, request)
    except AthenaQueryError as error:
        error.attempts, error.labels = entry.attempt - 1, request.labels
        raise


def _ensure(runtime: Runtime, entry: Entry, request: Request) -> str | None:
    if request.named_query_id is None:
        statement = queries.resolve(runtime.athena, request, runtime.settings)
    else:
        # A named query is resolved once for each entry, since it may be edited or deleted in the meantime.
        earlier = runtime.table.find_execution(entry.execution_id)
        if query_id := earlier.query_of(entry.id):
            return _confirm(runtime, entry, query_id, earlier)
        announced = earlier.announcement_of(entry.id)
        statement = (
            _announced_statement(runtime, announced, request)
            if announced
            else queries.resolve(runtime.athena, request, runtime.settings)
        )
    announced_at = runtime.now()
    known = runtime.table.announce_start(entry, statement, announced_at)
    query_id = known.query_of(entry.id)
    if query_id is None:
        withdrawn = False
        try:
            query_id = _submit(runtime, entry, request, statement, known)
            withdrawn = query_id is None
        except (InvalidRequest, TimedOut):
            withdrawn = True
            raise
        finally:
            # An executor that died after its announcement may have started a query, so that stays. So does
            # this one if Athena throttles, since botocore's first attempt may have started the query.
            if withdrawn and known.announcement_of(entry.id) is None:
                runtime.table.withdraw_start(entry, announced_at)
        if query_id is None:
            return None
    return _confirm(runtime, entry, query_id, known)


def deadline(entry: Entry, request: Request) -> float | None:
    """The deadline of the entry's query in epoch seconds."""
    return None if request.timeout_seconds is None else entry.entered + request.timeout_seconds


def _submit(
    runtime: Runtime, entry: Entry, request: Request, statement: Statement, known: ExecutionItem
) -> str | None:
    if known.ended >= entry.redrive_count:
        logger.info("execution has ended, nothing started")
        return None
    limit = deadline(entry, request)
    late = limit is not None and runtime.now() >= limit
    if entry.redrive_count > 0 and entry.attempt == 1:
        try:
            adopted = _adopt(runtime, entry, request, known)
        except Throttled:
            if late:
                raise TimedOut(_TOO_LATE) from None
            raise
        if adopted:
            return adopted
    earlier = known.announcement_of(entry.id)
    if late:
        return _find_after_deadline(runtime, entry, request, earlier)
    if earlier is not None:
        statement = _announced_statement(runtime, earlier, request)
    try:
        query_id = queries.start(runtime.athena, statement, request, runtime.settings, entry.id)
    except queries.TokenInUse:
        return _token_lost(runtime, entry, request)
    logger.info("started", query_id=query_id, attempt=entry.attempt)
    return query_id


def _confirm(runtime: Runtime, entry: Entry, query_id: str, known: ExecutionItem) -> str | None:
    execution = runtime.table.register_start(entry, query_id, runtime.now(), known.outdated(entry.id))
    if execution.ended < entry.redrive_count:
        return query_id
    # A later redrive may have adopted it.
    if query_id in execution.queries_left_by(execution.ended):
        logger.info("execution has ended, query stopped", query_id=query_id)
        stop_orphan(runtime, query_id)
    return None


def stop_orphan(runtime: Runtime, query_id: str) -> None:
    """Stop a query whose execution has ended. It is recorded first, since a redrive may adopt the query."""
    runtime.table.record_stop(query_id, runtime.now())
    queries.stop(runtime.athena, query_id)
    measure(Metric.ORPHANS_STOPPED)
    logger.info("stopped", query_id=query_id)


def find_announced(runtime: Runtime, start: AnnouncedStart, request: Request) -> str | None:
    """The query that an announced start started; None if it started none and can no longer start one.

    Raise Throttled if Athena has no capacity, ServiceFault if another statement was started.
    """
    if queries.claim(runtime.athena, runtime.settings, start.entry_id):
        return None
    statement = _announced_statement(runtime, start, request)
    try:
        return queries.start(runtime.athena, statement, request, runtime.settings, start.entry_id)
    except queries.TokenInUse:
        raise ServiceFault("StartQueryExecution: IDEMPOTENT_PARAMETER_MISMATCH") from None


def _announced_statement(runtime: Runtime, start: AnnouncedStart, request: Request) -> Statement:
    """The statement as it was announced: defaults and named queries may have been edited since."""
    stored = start.statement
    if not stored:
        return queries.resolve(runtime.athena, request, runtime.settings)
    named = "QueryString" in stored
    return Statement(
        query_string=stored["QueryString"]["S"] if named else str(request.query_string),
        database=stored["Database"]["S"],
        catalog=stored["Catalog"]["S"],
        named=named,
    )


def _adopt(runtime: Runtime, entry: Entry, request: Request, known: ExecutionItem) -> str | None:
    """On a redrive, the newest query of the earlier runs that succeeded or still runs.

    An INSERT may have succeeded although its execution failed; running it again would duplicate its rows.
    """
    for start in known.announced:
        if start.redrive_count < entry.redrive_count:
            query_id = find_announced(runtime, start, request)
            if query_id is None:
                runtime.table.drop_announcement(entry.execution_id, start.entry_id, runtime.now())
            else:
                known = runtime.table.register_announced(entry.execution_id, start, query_id, runtime.now())
    # A faster executor of the same entry may have registered one in the meantime.
    if query_id := known.query_of(entry.id):
        return query_id
    if not known.started:
        return None
    states: dict[str, str] = {}
    adoptable: str | None = None
    # Usually the newest decides. Executions that were aborted and redriven within a second may have more.
    for query_id in dict.fromkeys(started.query_id for started in known.newest_first):
        query = queries.get_query(runtime.athena, query_id)
        states[query.query_id] = query.state
        if not query.ended or query.state == "SUCCEEDED":
            adoptable = query.query_id
            break
    adopted = runtime.table.decide_adoption(entry, adoptable, runtime.now())
    if adopted is None:
        return None
    logger.info("adopted", query_id=adopted, state=states.get(adopted))
    if states.get(adopted) in TERMINAL_STATES:
        # Its completion event arrived long ago, or was lost.
        runtime.table.record_state(adopted, states[adopted], runtime.now())
    return adopted


def _find_after_deadline(
    runtime: Runtime, entry: Entry, request: Request, earlier: AnnouncedStart | None
) -> str:
    """The query that an earlier executor started before the deadline. Raise TimedOut if there is none."""
    query_id = None
    if earlier is not None:
        try:
            query_id = find_announced(runtime, earlier, request)
        except Throttled:
            # Unknown: the announcement stays, and the canceller stops what may have been started.
            logger.info("deadline passed, start unconfirmed")
        else:
            if query_id is None:
                runtime.table.drop_announcement(entry.execution_id, entry.id, runtime.now())
    if query_id is None:
        raise TimedOut(_TOO_LATE)
    return query_id


def _token_lost(runtime: Runtime, entry: Entry, request: Request) -> str | None:
    """The token belongs to another statement: the canceller, or another executor, has used it.

    Raise TimedOut if the query has a deadline: another executor, whose clock may be ahead of this one, has
    claimed the token after it, or the task has ended, and receives no callback. Raise Throttled if Athena
    has no capacity.
    """
    known = runtime.table.find_execution(entry.execution_id)
    if known.ended < entry.redrive_count:
        if query_id := known.query_of(entry.id):
            return query_id
        if not queries.claim(runtime.athena, runtime.settings, entry.id):
            # A defect of this code. ASL retries, and the canceller cleans up if the execution fails.
            raise ServiceFault("StartQueryExecution: IDEMPOTENT_PARAMETER_MISMATCH")
        if request.timeout_seconds is not None:
            raise TimedOut(_TOO_LATE)
        # A redrive has claimed it, whose own start was refused, so that nothing else shows it.
    logger.info("execution has ended, nothing started")
    return None
