"""Promise 3: one query for each attempt, none left running, and nobody else's stopped."""

from collections import Counter
from collections.abc import Iterator
from math import inf

from tests.simulation.athena import STOPPING_SECONDS, Query
from tests.simulation.expectations import (
    adopted_at,
    adopted_query,
    attempts_of,
    back_offs,
    calm_after,
    deadline_of,
    ends,
    is_transient,
    is_write,
    max_attempts,
    name_of,
    queries_of_run,
    query_of,
)
from tests.simulation.interpreter import Execution, Run
from tests.simulation.lambdas import TIME_LIMIT
from tests.simulation.scenarios import MINUTE
from tests.simulation.world import History

_TOLERANCE = 0.1


def one_query_per_attempt(history: History) -> Iterator[str]:
    """Excused where a start could not be registered until Athena had forgotten its token."""
    forgotten = _forgotten(history)
    counts = Counter(
        (name_of(query.subject.execution), query.subject.entry)
        for query in history.athena.queries.values()
        if query.subject and not query.is_claim
    )
    for (name, entry), count in counts.items():
        if count > 1 and (name, entry) not in forgotten:
            yield f'{name} started {count} queries for its entry {entry} into "Start query"'


def _forgotten(history: History) -> set[tuple[str, int]]:
    """The executions and entries whose token was used again when Athena had forgotten it."""
    return {(name_of(each.execution), each.entry) for each in history.athena.forgotten}


def only_executors_start_queries(history: History) -> Iterator[str]:
    for query in history.athena.queries.values():
        if query.started_by and query.started_by.function != "executor" and not query.is_claim:
            yield f"{query.started_by.name} started query {query.number}"


def attempts_are_bounded(history: History) -> Iterator[str]:
    """Only a transient failure is run again, only where it is safe, and only so often."""
    for execution in history.machine.executions:
        for run in execution.runs:
            queries = queries_of_run(history, run)
            if not queries or any(each.run is run for each in history.athena.forgotten):
                continue
            most = max(max_attempts(execution, each) for each in history.deployments)
            if len(queries) > most:
                yield f"{name_of(execution)} ran {len(queries)} queries in one run"
            for query in queries[:-1]:
                if not is_transient(query) or query.since("FAILED", history.clock.now) is None:
                    yield f"{name_of(execution)} ran again after query {query.number}: {query.state}"
                elif is_write(query) and not execution.input.get("Idempotent", False):
                    yield f"{name_of(execution)} repeated a write"


def transient_failures_are_retried(history: History) -> Iterator[str]:
    """An execution ends as TransientFailure only if its attempts are used up, or another is not safe."""
    for execution, run, end in ends(history):
        query = query_of(history, end)
        if end.error != "AthenaQuery.TransientFailure" or query is None:
            continue
        safe = not is_write(query) or execution.input.get("Idempotent", False)
        least = min(max_attempts(execution, each) for each in history.deployments)
        attempts = attempts_of(history, execution, run)
        if safe and attempts < least:
            yield f"{name_of(execution)} gave up after attempt {attempts} of {least}"


def back_off_is_kept(history: History) -> Iterator[str]:
    """Before another attempt comes the pause that the setting names, doubled for each further one."""
    for execution in history.machine.executions:
        for run in execution.runs:
            for seconds, wanted in back_offs(history, execution, run):
                if abs(seconds - wanted) > _TOLERANCE:
                    yield f"{name_of(execution)} backed off {seconds:.1f} s, not {wanted:.1f} s"


def redrive_adopts(history: History) -> Iterator[str]:
    """A redrive starts no query where the newest one of the execution succeeded, or goes on to succeed; and
    it does not end as a query that had failed before. Excused where that query could not be registered until
    Athena had forgotten its token.
    """
    forgotten = _forgotten(history)
    for execution in history.machine.executions:
        for run in execution.runs:
            query = adopted_query(history, execution, run)
            if query and (name_of(execution), query.subject.entry) in forgotten:
                continue
            started = queries_of_run(history, run)
            if (
                query is None
                or not started
                or (_resumes(query) and not _succeeded_before(history, query, run))
            ):
                continue
            ended_before = query.ended and query.ended_at <= started[0].submitted
            if query.state == "SUCCEEDED" or not ended_before:
                yield f"{name_of(execution)} was redriven and ran again, but query {query.number} was there"
    for execution, run, end in ends(history):
        query = query_of(history, end)
        if (
            run.redrive_count
            and end.error
            and query is not None
            and query.ended_at < run.began - history.answers_lag
        ):
            yield f"{name_of(execution)} was redriven and ended as query {query.number} had ended before"


def _resumes(query: Query) -> bool:
    return query.plan.end == "failed, then resumed"


def _succeeded_before(history: History, query: Query, run: Run) -> bool:
    return query.state == "SUCCEEDED" and query.ended_at + history.answers_lag < run.began


def starts_or_adopts(history: History) -> Iterator[str]:
    """A redriven run that has started a query does not end as one that an earlier run had started."""
    forgotten = _forgotten(history)
    for execution, run, end in ends(history):
        query, started = query_of(history, end), queries_of_run(history, run)
        if query is None or not started or query.subject.run is run:
            continue
        if (name_of(execution), query.subject.entry) not in forgotten:
            yield f"{name_of(execution)} started query {started[-1].number} and ended as query {query.number}"


def nothing_left_running(history: History) -> Iterator[str]:
    """A query ends soon after its execution did, or within a sweep and a few minutes after the last fault."""
    for query in history.athena.queries.values():
        if query.subject is None or query.is_claim or query.plan.end == "failed, then resumed":
            continue
        end = _owner(history, query).end
        if end is None or end.status == "SUCCEEDED":
            continue
        limit = max(end.at, query.submitted) + history.prompt + STOPPING_SECONDS
        if history.faults.profile.level != "calm":
            limit = max(limit, calm_after(history)) + _sweep_seconds(history) + 2 * TIME_LIMIT + 1
        if query.ended_at > limit or not query.ended:
            yield f"query {query.number} ran on {query.ended_at - end.at:.1f} s after its execution ended"


def _sweep_seconds(history: History) -> float:
    return max(each.sweep_minutes for each in history.deployments) * MINUTE


def _owner(history: History, query: Query) -> Run:
    """The last run that the query belonged to: the one that started it, or one that adopted it."""
    owner: Run = query.subject.run
    for run in query.subject.execution.runs:
        if run.redrive_count <= owner.redrive_count:
            continue
        if adopted_at(history, query, run) < inf:
            owner = run
    return owner


def stops_only_its_own(history: History) -> Iterator[str]:
    """A query is stopped at its deadline, or because its execution has ended, unless a redrive had adopted
    it; a foreign query never.
    """
    for query in history.athena.queries.values():
        for at, invocation in query.stops:
            if query.subject is None:
                yield f"{invocation.name} stopped query {query.number}, which is foreign"
                continue
            execution: Execution = query.subject.execution
            deadline = deadline_of(query)
            if deadline is not None and at >= deadline - history.skew - 0.1:
                continue
            owner = query.subject.run
            for run in execution.runs:
                if run.redrive_count > owner.redrive_count and invocation.began > adopted_at(
                    history, query, run
                ):
                    owner = run
            if owner.end is not None and owner.end.at <= at:
                continue
            yield f"{invocation.name} stopped query {query.number}, whose execution was running"
