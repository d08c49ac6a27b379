"""Promise 1: every execution ends once, with the true final state of its query, and not before it."""

from collections.abc import Iterator

from tests.simulation.athena import Query
from tests.simulation.expectations import (
    LONGEST_RUN,
    ends,
    entry_time,
    error_without_query,
    name_of,
    query_of,
    reported_since,
    true_ends,
)
from tests.simulation.interpreter import Ended, Execution, Run
from tests.simulation.scenarios import HOUR
from tests.simulation.world import History

# How long Athena must have had no capacity before an execution may fail for it.
LEAST_THROTTLED_SECONDS = HOUR


def every_execution_ends(history: History) -> Iterator[str]:
    if history.never_rested:
        yield history.never_rested
    for execution in history.machine.executions:
        if execution.running:
            yield f"{name_of(execution)} waits in {execution.state!r} indefinitely"


def ends_with_true_final_state(history: History) -> Iterator[str]:
    """The outcome of an execution is that of its query. No fault of AWS is an outcome."""
    for execution, run, end in ends(history):
        fault = _fault_of_end(history, execution, run, end)
        if fault:
            yield f"{name_of(execution)} ended as {end.error or end.status}, but {fault}"


def _fault_of_end(history: History, execution: Execution, run: Run, end: Ended) -> str | None:
    if end.status == "ABORTED":
        return None
    if end.status == "TIMED_OUT":
        return None if end.at >= run.began + LONGEST_RUN else "its time limit has not passed"
    if end.error and not end.error.startswith("AthenaQuery."):
        return f"that is not an outcome: {end.cause}"
    if end.error == "AthenaQuery.Throttled":
        throttled = end.at - entry_time(execution, run)
        return None if throttled >= LEAST_THROTTLED_SECONDS else f"only {throttled:.0f} s after its entry"
    query = query_of(history, end)
    if query is None:
        return error_without_query(history, execution, run, end)
    return _fault_of_query(history, execution, end, query)


def _fault_of_query(history: History, execution: Execution, end: Ended, query: Query) -> str | None:
    if query.subject is None or query.subject.execution is not execution:
        return f"query {query.number} is not its own"
    if (end.error or end.status) not in true_ends(history, query):
        return f"query {query.number} is {[(step.time, step.state) for step in query.history]}"
    return None


def not_before_its_query(history: History) -> Iterator[str]:
    for execution, _run, end in ends(history):
        query = query_of(history, end)
        if query is not None and reported_since(query, end) is None:
            yield f"{name_of(execution)} ended as {end.error or end.status} while query {query.number} ran"
