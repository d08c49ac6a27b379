"""The promises of the design, each checked by name against the history of a schedule.

A check yields a sentence for each violation. Time limits are in seconds of virtual time and have three
grades: under a calm level what an undisturbed system does; where only events are disturbed the fallback's
intervals; and after the last fault of a storm, everything that may still be under way at that moment.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema

from functions.contract import read_input
from functions.errors import AthenaQueryError
from tests.simulation.athena import STOPPING_SECONDS, Query
from tests.simulation.interpreter import Ended, Execution, Run
from tests.simulation.lambdas import ASYNC_RETRIES, TIME_LIMIT, Invocation
from tests.simulation.world import SECRET, SETTINGS, History, Subject

SCHEMAS = Path(__file__).parents[2] / "statemachine"

# The longest pause that a Retry of the document makes.
LONGEST_RETRY = 60.0

Check = Callable[[History], Iterator[str]]


@dataclass(frozen=True)
class Violation:
    check: str
    what: str

    def __str__(self) -> str:
        return f"{self.check}: {self.what}"


def violations(history: History) -> list[Violation]:
    return [Violation(check.__name__, what) for check in CHECKS for what in check(history)]


# 1. Every execution ends, with the true final state of its query, once; none ends before its query did.


def every_execution_ends(history: History) -> Iterator[str]:
    if history.never_rested:
        yield history.never_rested
    for execution in history.machine.executions:
        if execution.running:
            yield f"{_name(execution)} waits in {execution.state!r} for ever"


def ends_once(history: History) -> Iterator[str]:
    """No task hears two different ends of one query, unless Athena went on after FAILED."""
    told: dict[str, set[str]] = defaultdict(set)
    for query_id, story in history.told:
        told[query_id].add(story)
    for query_id, stories in told.items():
        if len(stories) > 1 and history.athena.queries[query_id].plan.end != "failed, then on":
            yield f"{query_id} was reported as {' and as '.join(sorted(stories))}"


def ends_with_true_final_state(history: History) -> Iterator[str]:
    for execution, _run, end in _ends(history):
        if end.status not in {"ABORTED", "TIMED_OUT"}:
            fault = _fault_of_end(history, execution, end)
            if fault:
                yield f"{_name(execution)} ended as {end.error or end.status}, but {fault}"


def _fault_of_end(history: History, execution: Execution, end: Ended) -> str | None:
    # A fault of AWS, or Athena having no room, may end an execution once its retries are used up.
    if end.error == "AthenaQuery.Throttled" or (end.error and not end.error.startswith("AthenaQuery.")):
        return None if end.exhausted else f"was not retried to the last: {end.cause}"
    query = _query_of(history, end)
    if query is None:
        return None if end.error in _errors_without_query(execution) else "no query is named"
    if query.subject.execution is not execution:
        return f"query {query.number} is that of {_name(query.subject.execution)}"
    if (end.error or end.status) not in _true_ends(query):
        return f"query {query.number} is {query.history}"
    return None


def not_before_its_query(history: History) -> Iterator[str]:
    for execution, _run, end in _ends(history):
        query = _query_of(history, end)
        if query is not None and _told_since(query, end) is None:
            yield f"{_name(execution)} ended as {end.error or end.status} while query {query.number} ran"


# 2. How soon.


def ends_in_time(history: History) -> Iterator[str]:
    intervals, level = history.intervals, history.faults.profile.level
    for execution, run, end in _ends(history):
        query = _query_of(history, end)
        since = None if query is None else _told_since(query, end)
        if since is None:
            continue
        # A redriven execution may find a query that had ended before.
        ready = max(since, run.began)
        if level == "calm":
            limit, why = ready + history.prompt, "its event came"
        elif level == "events":
            window = run.last_entry_tried + intervals.patience
            limit, why = max(window, ready + intervals.poll) + history.prompt, "its event was disturbed"
        else:
            calm_again = max(ready, history.faults.last)
            limit = (
                calm_again + TIME_LIMIT + LONGEST_RETRY + intervals.patience + intervals.poll + history.prompt
            )
            why = "all faults had ceased"
        if end.at > limit:
            yield f"{_name(execution)} ended {end.at - ready:.1f} s after its query, although {why}"


def deadline_is_kept(history: History) -> Iterator[str]:
    """A query is stopped at its deadline."""
    for query in history.athena.queries.values():
        subject: Subject | None = query.subject
        if subject is None:
            continue
        timeout = _timeout(subject.execution)
        if timeout is None:
            continue
        entered = subject.execution.entry_times[subject.entry - 1]
        limit = max(entered + timeout, query.submitted) + STOPPING_SECONDS + history.prompt + 1
        if history.faults.profile.level == "storm":
            limit = max(limit, history.faults.last) + TIME_LIMIT + LONGEST_RETRY
            limit += min(timeout, history.intervals.patience) + history.intervals.poll
        gone = subject.run.end is not None and subject.run.end.at < limit
        # What an execution leaves running is another promise. One that goes on after FAILED was let go.
        if query.history[-1][0] > limit and not gone and query.plan.end != "failed, then on":
            yield f"query {query.number} ran {query.history[-1][0] - entered:.1f} s, its limit is {timeout} s"
    for execution, run, end in _ends(history):
        timeout = _timeout(execution)
        if end.error == "AthenaQuery.TimedOut" and timeout is not None:
            entered = max(run.began, execution.entry_times[run.entries_before + max(run.entries, 1) - 1])
            if end.at < entered + timeout - 1:
                early = entered + timeout - end.at
                yield f"{_name(execution)} was timed out {early:.1f} s before its deadline"


# 3. One query for each attempt, none left running.


def one_query_per_attempt(history: History) -> Iterator[str]:
    counts = Counter(
        (_name(query.subject.execution), query.subject.entry)
        for query in history.athena.queries.values()
        if query.subject
    )
    for (name, entry), count in counts.items():
        if count > 1:
            yield f'{name} started {count} queries for its entry {entry} into "Start query"'


def attempts_are_bounded(history: History) -> Iterator[str]:
    """Only a transient failure is run again, only where it is safe, and only so often."""
    of_run: dict[int, list[Query]] = defaultdict(list)
    for query in history.athena.queries.values():
        if query.subject:
            of_run[id(query.subject.run)].append(query)
    for queries in of_run.values():
        execution = queries[0].subject.execution
        request = read_input(execution.input, SETTINGS[history.intervals.poll])
        if len(queries) > request.max_attempts:
            yield f"{_name(execution)} ran {len(queries)} queries, MaxAttempts is {request.max_attempts}"
        for query in queries[:-1]:
            transient = query.plan.category == 1 or query.plan.retryable
            if not transient or query.since("FAILED", history.clock.now) is None:
                yield f"{_name(execution)} ran again after query {query.number}: {query.history}"
            if query.request["QueryString"].startswith("INSERT") and not request.idempotent:
                yield f"{_name(execution)} repeated a write"


def nothing_left_running(history: History) -> Iterator[str]:
    """A query ends soon after its execution did. An event that was lost, and one that the dead-letter queue
    holds, are the two excuses: nobody told the canceller, or the operator is told.
    """
    excused = {event["detail"].get("executionArn") for event in history.bus.lost}
    excused |= {letter.event["detail"].get("executionArn") for letter in history.lambdas.dead_letters}
    for query in history.athena.queries.values():
        subject: Subject | None = query.subject
        if subject is None or subject.execution.arn in excused or query.plan.end == "failed, then on":
            continue
        end = subject.run.end
        if end is None:
            continue
        limit = max(end.at, query.submitted) + history.prompt + STOPPING_SECONDS
        if history.faults.profile.level != "calm":
            limit = max(limit, history.faults.last) + sum(ASYNC_RETRIES) + TIME_LIMIT + STOPPING_SECONDS
        if query.history[-1][0] > limit or not query.ended:
            longer = query.history[-1][0] - end.at
            yield f"query {query.number} ran on {longer:.1f} s after its execution ended"


def stops_only_its_own(history: History) -> Iterator[str]:
    """But for a known limit: the canceller's search for a query that an executor started before it died takes
    another run's query for it if that has the same statement and its executor died there too
    (docs/reliability.md).
    """
    for query in history.athena.queries.values():
        for invocation in _strangers_who_stopped(query):
            same = query.subject and query.request["QueryString"] in _statements(invocation.subject.execution)
            if not (same and invocation.function == "canceller" and history.faults.profile.level == "storm"):
                yield f"{invocation.name} stopped query {query.number}, which is not its run's"


# What lies under the promises.


def no_late_token_is_an_error(history: History) -> Iterator[str]:
    for invocation in history.lambdas.invocations:
        if invocation.exception is not None and str(invocation.exception).endswith(_LATE):
            yield f"{invocation.name} failed: {invocation.exception}"


def no_unexplained_failure(history: History) -> Iterator[str]:
    """A function fails only by a fault that befell it, or to be called again (StartUnconfirmed)."""
    for invocation in history.lambdas.invocations:
        outcome = invocation.outcome
        if outcome is None:
            yield f"{invocation.name} never ended"
            continue
        if outcome.error is None:
            continue
        if not invocation.injected or outcome.error not in _FAULTS:
            yield f"{invocation.name} failed: {outcome.error} {outcome.cause}"


def dead_letters_are_explained(history: History) -> Iterator[str]:
    for letter in history.lambdas.dead_letters:
        if not any(invocation.injected for invocation in letter.tries):
            yield f"{letter.function} gave up without a fault: {letter.tries[-1].outcome}"


def keeps_the_contract(history: History) -> Iterator[str]:
    for execution, _run, end in _ends(history):
        try:
            if end.status == "SUCCEEDED":
                _schema("output")(end.output)
            elif end.error.startswith("AthenaQuery."):
                _schema("error")(json.loads(end.cause))
        except fastjsonschema.JsonSchemaException as fault:
            yield f"{_name(execution)}: {fault}"


def logs_keep_secrets(history: History) -> Iterator[str]:
    """Promise 5: neither SQL nor a task token in a log line or an exception's text, which is logged too."""
    lines = [*history.logs, *(str(each.exception) for each in history.lambdas.invocations if each.exception)]
    for line in lines:
        if SECRET in line or "task-token" in line:
            yield line


CHECKS: tuple[Check, ...] = (
    every_execution_ends,
    ends_once,
    ends_with_true_final_state,
    not_before_its_query,
    ends_in_time,
    deadline_is_kept,
    one_query_per_attempt,
    attempts_are_bounded,
    nothing_left_running,
    stops_only_its_own,
    no_late_token_is_an_error,
    no_unexplained_failure,
    dead_letters_are_explained,
    keeps_the_contract,
    logs_keep_secrets,
)

_LATE = ("TaskTimedOut", "TaskDoesNotExist")
_FAULTS = frozenset({"ServiceFault", "Runtime.ExitError", "Sandbox.Timedout"})


@cache
def _schema(name: str) -> Callable[[Any], Any]:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    return fastjsonschema.compile(schema)


def _name(execution: Execution) -> str:
    return execution.arn.rpartition(":")[2]


def _ends(history: History) -> Iterator[tuple[Execution, Run, Ended]]:
    for execution in history.machine.executions:
        for run in execution.runs:
            if run.end is not None:
                yield execution, run, run.end


def _query_of(history: History, end: Ended) -> Query | None:
    """The query that an execution's output or cause names."""
    told = end.output if end.status == "SUCCEEDED" else None
    if end.error.startswith("AthenaQuery."):
        told = json.loads(end.cause)
    return history.athena.queries.get(told["QueryId"]) if told and told.get("QueryId") else None


_STATE_OF = {
    "": "SUCCEEDED",
    "AthenaQuery.Failed": "FAILED",
    "AthenaQuery.TransientFailure": "FAILED",
    "AthenaQuery.Cancelled": "CANCELLED",
    "AthenaQuery.TimedOut": "CANCELLED",
}


def _told_since(query: Query, end: Ended) -> float | None:
    """Since when Athena says of the query what the execution's end says."""
    return query.since(_STATE_OF[end.error], end.at)


def _true_ends(query: Query) -> set[str]:
    """The ends that are true of the query's last state, or of FAILED where Athena went on after it."""
    states = {query.state} | ({"FAILED"} if query.plan.end == "failed, then on" else set())
    true: set[str] = set()
    if "SUCCEEDED" in states:
        true.add("SUCCEEDED")
    if "FAILED" in states:
        transient = query.plan.category == 1 or query.plan.retryable
        true.add("AthenaQuery.TransientFailure" if transient else "AthenaQuery.Failed")
    if "CANCELLED" in states:
        true |= {"AthenaQuery.TimedOut"} if _past_deadline(query) else set()
        by_others = not query.cancelled or _strangers_who_stopped(query)
        true |= {"AthenaQuery.Cancelled"} if by_others else set()
    return true


def _strangers_who_stopped(query: Query) -> list[Invocation]:
    """Invocations that stopped the query on behalf of another execution, or of an earlier run of its own."""
    own: Subject | None = query.subject
    return [
        each
        for each in query.stopped_by
        if own is None
        or each.subject.execution is not own.execution
        or each.subject.run.redrive_count < own.run.redrive_count
    ]


def _statements(execution: Execution) -> set[str]:
    return {execution.input.get("QueryString", f"SELECT '{SECRET} named'")}


def _past_deadline(query: Query) -> bool:
    """Whether the query ended no sooner than its deadline, clocks agreeing to a second."""
    timeout = _timeout(query.subject.execution)
    entered = query.subject.execution.entry_times[query.subject.entry - 1]
    return timeout is not None and query.history[-1][0] >= entered + timeout - 1


def _errors_without_query(execution: Execution) -> set[str]:
    try:
        read_input(execution.input, SETTINGS[30])
    except AthenaQueryError:
        return {"AthenaQuery.InvalidInput"}
    refused = "REFUSED" in execution.input.get("QueryString", "") or "NamedQueryId" in execution.input
    late = _timeout(execution) is not None
    return ({"AthenaQuery.InvalidRequest"} if refused else set()) | (
        {"AthenaQuery.TimedOut"} if late else set()
    )


def _timeout(execution: Execution) -> int | None:
    return execution.input.get("TimeoutSeconds") if isinstance(execution.input, dict) else None
