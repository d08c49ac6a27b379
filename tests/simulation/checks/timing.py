"""Promise 2: how soon an execution ends, when a query is stopped at its deadline, and how often Athena is
polled.

Time limits have three grades: at the level "calm" what an undisturbed system does; at the level "events" the
fallback's intervals; and in a storm, after its last fault, everything that may still be under way at that
time.
"""

from collections.abc import Iterator
from itertools import pairwise
from math import inf, log

from functions.task_table import STATE
from tests.simulation.athena import STOPPING_SECONDS, Query
from tests.simulation.expectations import (
    calm_after,
    deadline_of,
    ends,
    entry_time,
    longest_interval,
    name_of,
    pause_left,
    polls,
    queries_of,
    queries_of_run,
    query_of,
    replaced_at,
    reported_since,
    timeout_of,
)
from tests.simulation.interpreter import Execution, Run
from tests.simulation.lambdas import TIME_LIMIT
from tests.simulation.world import History

# The least interval between polls while no query is registered.
_UNREGISTERED_SECONDS = 5.0


def ends_in_time(history: History) -> Iterator[str]:
    """After its query ended, an execution ends promptly; without its event within a window or a poll
    interval.
    """
    for execution, run, end in ends(history):
        query = query_of(history, end)
        since = None if query is None else reported_since(query, end)
        if query is None or since is None:
            continue
        # A redriven execution may adopt a query that had ended before.
        ready = max(since, run.began)
        if run.redrive_count and run.visits[0][1] == "Back off" and len(run.visits) > 1:
            # It is redriven in its pause, after which "Start query" adopts a query.
            ready = max(ready, run.visits[1][0])
        limit, why = _latest_end(history, execution, run, ready)
        if end.at > limit:
            late = end.at - ready
            yield f"{name_of(execution)} ended {late:.1f} s after query {query.number}, although {why}"


def _latest_end(history: History, execution: Execution, run: Run, ready: float) -> tuple[float, str]:
    level = history.faults.profile.level
    # The functions ask Athena again within seconds.
    answered = ready + history.answers_lag + (1 if history.answers_lag else 0)
    entered = entry_time(execution, run)
    if run.redrive_count:
        # A run that is redriven in the fallback enters "Start query" again, after a second's pause.
        answered += 1 + history.prompt
        if level == "calm":
            # It adopted another query first, which was being stopped for an earlier run, and ran again.
            replaced = (each.ended_at for each in _replaced(history, execution, run))
            answered += max([0.0, *(at - ready for at in replaced)])
            if _refused(history, run):
                # Until the last try, Athena had no capacity to resolve an unconfirmed start.
                answered = max(answered, run.last_entry_tried)
    if level == "calm":
        return answered + history.prompt, "its event arrived"
    window = run.last_entry_tried + max(each.patience_seconds for each in history.deployments)
    if level == "events":
        polled = answered + longest_interval(history, answered - entered)
        return max(window, polled) + 2 * history.prompt, "only events were disturbed"
    calm = max(answered, calm_after(history))
    calm = max(window, calm + pause_left(run, calm))
    polled = calm + longest_interval(history, calm - entered)
    return polled + TIME_LIMIT + 3 * history.prompt, "all faults had ceased"


def _replaced(history: History, execution: Execution, run: Run) -> list[Query]:
    """Queries of earlier runs whose end made this run, which had adopted them, run again."""
    return [
        query
        for query in queries_of(history, execution)
        if query.subject.run is not run and replaced_at(history, query, run) > -inf
    ]


def _refused(history: History, run: Run) -> bool:
    """Whether Athena had no capacity for a start of this run."""
    return any(
        invocation is not None and invocation.subject is not None and invocation.subject.run is run
        for _, invocation in history.athena.refusals
    )


def query_deadline_is_kept(history: History) -> Iterator[str]:
    """A query is stopped at its deadline."""
    for query in history.athena.queries.values():
        if query.subject is None or query.is_claim or query.plan.end == "failed, then resumed":
            continue
        deadline = deadline_of(query)
        if deadline is None:
            continue
        limit = _deadline_limit(
            history, query.subject.execution, query.subject.run, max(deadline, query.submitted)
        )
        end = query.subject.run.end
        # What an execution leaves running is another promise.
        if query.ended_at > limit and not (end is not None and end.at < limit):
            yield f"query {query.number} ran {query.ended_at - deadline:.1f} s past its deadline"


def execution_deadline_is_kept(history: History) -> Iterator[str]:
    """A run ends soon after the deadline of its last entry, whether or not it has a query."""
    for execution, run, end in ends(history):
        timeout = timeout_of(execution)
        if (
            timeout is None
            or not run.entries
            or end.error == "AthenaQuery.InvalidInput"
            or end.state == "Back off"
        ):
            continue
        deadline = entry_time(execution, run) + timeout
        limit = _deadline_limit(history, execution, run, deadline)
        if history.faults.profile.level == "events":
            # The event of the stop may be lost.
            limit += longest_interval(history, timeout + limit - deadline)
        query = query_of(history, end)
        if query is not None:
            ready = max(reported_since(query, end) or end.at, run.began)
            limit = max(limit, _latest_end(history, execution, run, ready)[0])
        if end.at > limit:
            yield f"{name_of(execution)} ended {end.at - deadline:.1f} s after its deadline"


def _deadline_limit(history: History, execution: Execution, run: Run, deadline: float) -> float:
    """By when a query with this deadline is stopped. A pause between tries is not cut short by a deadline,
    and one second is the resolution of the document's times.
    """
    if history.faults.profile.level != "storm":
        # By then it has passed on every host.
        passed = deadline + history.skew
        return passed + pause_left(run, passed) + 1 + history.prompt + STOPPING_SECONDS + history.answers_lag
    calm = max(deadline, calm_after(history))
    calm += pause_left(run, calm)
    age = calm - deadline + (timeout_of(execution) or 0)
    return calm + longest_interval(history, age) + 2 * TIME_LIMIT + STOPPING_SECONDS + 3 * history.prompt


def not_timed_out_early(history: History) -> Iterator[str]:
    for execution, run, end in ends(history):
        timeout = timeout_of(execution)
        if end.error == "AthenaQuery.TimedOut" and timeout is not None:
            early = entry_time(execution, run) + timeout - end.at
            if early > history.skew + 0.1:
                yield f"{name_of(execution)} was timed out {early:.1f} s before its deadline"


def no_start_after_deadline(history: History) -> Iterator[str]:
    """No query starts once its deadline has passed, unless a call took that long."""
    for query in history.athena.queries.values():
        if query.started_by is None or query.subject is None or query.is_claim:
            continue
        deadline = deadline_of(query)
        if deadline is None:
            continue
        slack = history.prompt if "call slow" not in query.started_by.injected else TIME_LIMIT
        if query.submitted > deadline + history.skew + slack:
            yield f"query {query.number} started {query.submitted - deadline:.1f} s after its deadline"


def polls_are_few(history: History) -> Iterator[str]:
    """The next poll comes after the poll interval, or a share of the query's age: their number is
    logarithmic.
    """
    for execution in history.machine.executions:
        unregistered = _polls_without_query(history, execution)
        for run in execution.runs:
            for entered, times in polls(run):
                early = [at for at, until in pairwise([*times, inf]) if _any_within(unregistered, at, until)]
                for each, shortest in (
                    ([at for at in times if at not in early], _poll_seconds(history)),
                    (early, _UNREGISTERED_SECONDS),
                ):
                    most = _most_polls(history, each, entered, shortest)
                    if len(each) > most:
                        yield f"{name_of(execution)} polled {len(each)} times, not {most:.0f} at most"
                # A deadline makes one interval shorter, and a fault may make the next poll come sooner.
                if history.faults.profile.level != "storm" and timeout_of(execution) is None:
                    yield from _hasty_polls(history, execution, entered, times, early)


def _polls_without_query(history: History, execution: Execution) -> list[float]:
    """When polls began that found no registered query, whose deadline is not known. The next comes soon."""
    return [
        invocation.began
        for invocation in history.lambdas.invocations
        if invocation.function == "checker"
        and invocation.payload.get("ExecutionId") == execution.arn
        and invocation.outcome
        and invocation.outcome.value
        and invocation.outcome.value["State"] == "UNKNOWN"
    ]


def _any_within(times: list[float], since: float, until: float) -> bool:
    return any(since <= at < until for at in times)


def _poll_seconds(history: History) -> float:
    return min(each.poll_seconds for each in history.deployments)


def _most_polls(history: History, times: list[float], entered: float, shortest: float) -> float:
    """How many polls there may be until the last one; twice as many as undisturbed, and a few for each
    deadline.
    """
    if not times:
        return 0
    growth = min(each.poll_growth for each in history.deployments)
    age = max(times[-1] - entered, 1.0)
    growing = log(max(age * growth / shortest, 1.0)) / log(1 + growth)
    return 2 * (growing + 1 / growth) + 20


def _hasty_polls(
    history: History, execution: Execution, entered: float, times: list[float], early: list[float]
) -> Iterator[str]:
    for earlier, later in pairwise(times):
        age = earlier - entered
        shortest = _UNREGISTERED_SECONDS if earlier in early else _poll_seconds(history)
        least = max(shortest, age * min(each.poll_growth for each in history.deployments))
        if later - earlier < least - history.skew - 1:
            yield f"{name_of(execution)} polled again after {later - earlier:.0f} s at the age of {age:.0f} s"


def a_poll_asks_athena_once(history: History) -> Iterator[str]:
    """The executor in "Wait" asks Athena only after an event, or at a deadline."""
    recorded: set[str] = set()
    for write in history.table.writes:
        if STATE in write.item:
            recorded.add(write.key)
    for invocation in history.lambdas.invocations:
        if invocation.function != "executor" or invocation.payload["StateName"] != "Wait":
            continue
        if timeout_of(invocation.subject.execution) is not None or invocation.subject.run.redrive_count:
            continue
        queries = queries_of_run(history, invocation.subject.run)
        asked = any(operation == "GetQueryExecution" for operation, _ in invocation.calls)
        if asked and not any(query.id in recorded for query in queries):
            yield f"{invocation.name} asked Athena again"
