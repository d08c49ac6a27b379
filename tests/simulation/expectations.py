"""What must follow from what happened: derived from the simulation's own records, not from the functions'
code.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise, zip_longest
from math import inf
from typing import Any

from functions.contract import read_input
from functions.errors import AthenaQueryError, InvalidInput
from functions.events import TERMINAL_STATES
from functions.metric_names import Metric
from functions.task_table import DEADLINE_PASSED, STOP_REQUESTED
from tests.simulation.athena import SCAN_LIMIT_REASON, Query, output_location, scanned_bytes
from tests.simulation.deployment import Deployment
from tests.simulation.interpreter import Ended, Execution, Run
from tests.simulation.lambdas import TIME_LIMIT
from tests.simulation.scenarios import ABSENT_NAMED_QUERY, DAY, NAMED_QUERY
from tests.simulation.stepfunctions import Callback
from tests.simulation.world import History, Subject

# The machine's own time limit (TimeoutSeconds of the document).
LONGEST_RUN = 2 * DAY

# An input of more bytes than this may be too large together with its envelope, or longer than the schema
# allows.
LARGE_INPUT = 249_000

# Athena bills megabytes, ten at least, at the deployment's 5 USD per terabyte.
_USD_PER_MEGABYTE = 5e-6
_LEAST_MEGABYTES = 10

_REASON_CHARACTERS = 5_000

_STATE_OF = {
    "": "SUCCEEDED",
    "AthenaQuery.Failed": "FAILED",
    "AthenaQuery.TransientFailure": "FAILED",
    "AthenaQuery.Cancelled": "CANCELLED",
    "AthenaQuery.ScanLimitExceeded": "CANCELLED",
    "AthenaQuery.TimedOut": "CANCELLED",
}


def name_of(execution: Execution) -> str:
    return execution.arn.rpartition(":")[2]


# Runs and their ends.


def ends(history: History) -> Iterator[tuple[Execution, Run, Ended]]:
    for execution in history.machine.executions:
        for run in execution.runs:
            if run.end is not None:
                yield execution, run, run.end


def outcome_of(end: Ended) -> Mapping[str, Any] | None:
    """The output, or the cause of a typed error."""
    if end.status == "SUCCEEDED":
        output: Mapping[str, Any] = end.output
        return output
    document: Mapping[str, Any] = json.loads(end.cause) if end.error.startswith("AthenaQuery.") else {}
    return document or None


def query_of(history: History, end: Ended) -> Query | None:
    """The query that an execution's output or cause names."""
    document = outcome_of(end)
    return history.athena.queries.get(document["QueryId"]) if document and document.get("QueryId") else None


def reported_since(query: Query, end: Ended) -> float | None:
    """Since when Athena reports of the query what the execution's end does."""
    return query.since(_STATE_OF[end.error], end.at)


def queries_of(history: History, execution: Execution) -> list[Query]:
    return [
        query
        for query in history.athena.queries.values()
        if query.subject is not None and query.subject.execution is execution and not query.is_claim
    ]


def queries_of_run(history: History, run: Run) -> list[Query]:
    return [
        query
        for query in history.athena.queries.values()
        if query.subject is not None and query.subject.run is run and not query.is_claim
    ]


def adopted_query(history: History, execution: Execution, run: Run) -> Query | None:
    """The query that a redrive has to adopt: the newest of the earlier runs that succeeded or ran at that
    time.
    """
    if run.redrive_count == 0:
        return None
    for query in reversed(queries_of(history, execution)):
        if query.submitted <= run.began:
            shown = [step.state for step in query.history if step.time <= run.began]
            if not shown or shown[-1] not in {"FAILED", "CANCELLED"}:
                return query
    return None


def adopted_at(history: History, query: Query, run: Run) -> float:
    """When the run registered a query as its own; infinity if it did not."""
    key = (query.subject.execution.arn, query.id, run.redrive_count)
    return history.registrations.get(key, inf)


def entry_time(execution: Execution, run: Run) -> float:
    """When the run last entered "Start query", or began where it has not."""
    entries = execution.entry_times[run.entries_before : run.entries_before + run.entries]
    return max([run.began, *entries])


# Deadlines, intervals and pauses.


def timeout_of(execution: Execution) -> int | None:
    """The caller's TimeoutSeconds; None if it is absent or no number."""
    timeout = execution.input.get("TimeoutSeconds") if isinstance(execution.input, dict) else None
    return timeout if isinstance(timeout, int) else None


def deadline_of(query: Query) -> float | None:
    """The deadline of the query's entry, in epoch seconds. An adopted query has that of the redrive."""
    subject: Subject = query.subject
    timeout = timeout_of(subject.execution)
    if timeout is None:
        return None
    return max(subject.execution.entry_times[subject.entry - 1], subject.run.began) + timeout


def longest_interval(history: History, age: float) -> float:
    """The longest that the state machine waits before it polls again a query of this age."""
    if history.faults.profile.level == "storm":
        # Each poll that fails makes the next interval longer by its share, however it was before.
        return max(each.poll_seconds + 1.2 * each.poll_growth * age for each in history.deployments) + 10
    return max(max(each.poll_seconds, each.poll_growth * age) for each in history.deployments)


def calm_after(history: History) -> float:
    """When the last fault ceased to have an effect, and Athena had capacity again."""
    return max([history.faults.last, *(at for at, _ in history.athena.refusals)])


def pause_left(run: Run, at: float) -> float:
    """How long the run still pauses at this time before it tries a state again."""
    return max((until - at for since, until in run.pauses if since <= at + 1 and until > at), default=0.0)


def attempts_of(history: History, execution: Execution, run: Run, entries: int | None = None) -> int:
    """How many attempts the first `entries` of the run are, by default all of them.

    One with an adopted query that was just being stopped for an earlier run is none, and these come first.
    If that query fails before the stop takes effect, it was an attempt.
    """
    items = history.table.items()
    earlier = (
        each for each in queries_of(history, execution) if each.subject.run.redrive_count < run.redrive_count
    )
    replaced = sum(
        any(name.startswith((STOP_REQUESTED, DEADLINE_PASSED)) for name in items.get(each.id, {}))
        and each.since("CANCELLED", replaced_at(history, each, run)) is not None
        for each in earlier
    )
    counted = max(run.entries if entries is None else entries, 1)
    return counted - min(replaced, counted - 1)


def replaced_at(history: History, query: Query, run: Run) -> float:
    """When the run that adopted the query was asked to run again; before all time if that did not happen."""
    adopted = adopted_at(history, query, run)
    return min(
        (
            each.at
            for each in history.callbacks
            if each.run is run and each.error == "AthenaQuery.RunAgain" and each.at >= adopted
        ),
        default=-inf,
    )


def back_offs(history: History, execution: Execution, run: Run) -> Iterator[tuple[float, float]]:
    """How many seconds the run paused before each further attempt, and how many it has to."""
    entries = 0
    seconds = history.deployments[0].back_off_seconds
    for (since, state), (until, following) in pairwise(run.visits):
        entries += state == "Start query"
        # A run that is redriven in this state repeats the pause of the earlier run.
        if state == "Back off" and following == "Start query" and since > run.began:
            attempt = attempts_of(history, execution, run, entries + 1)
            yield until - since, 1.0 if attempt == 1 else seconds * 2.0 ** min(attempt - 2, 20)


def polls(run: Run) -> list[tuple[float, list[float]]]:
    """Each entry into "Start query", or the beginning of a run, with the times at which Athena was polled for
    it.
    """
    entries: list[tuple[float, list[float]]] = [(run.began, [])]
    for at, state in run.visits:
        if state == "Start query":
            entries.append((at, []))
        elif state == "Get query status":
            entries[-1][1].append(at)
    return entries


# Outcomes.


def max_attempts(execution: Execution, deployment: Deployment) -> int:
    return int(execution.input.get("MaxAttempts", deployment.max_attempts))


def is_write(query: Query) -> bool:
    return str(query.request["QueryString"]).startswith(("INSERT", "CREATE"))


def is_transient(query: Query) -> bool:
    return query.plan.failure is not None and query.plan.failure.transient


def true_ends(history: History, query: Query) -> set[str]:
    """The ends that are true of the query's last state, or of FAILED where Athena resumed it after that."""
    states = {query.state} | ({"FAILED"} if query.plan.end == "failed, then resumed" else set())
    true: set[str] = set()
    if "SUCCEEDED" in states:
        true.add("SUCCEEDED")
    if "FAILED" in states:
        true.add("AthenaQuery.TransientFailure" if is_transient(query) else "AthenaQuery.Failed")
    if "CANCELLED" in states:
        true |= {"AthenaQuery.TimedOut"} if stopped_at_deadline(history, query) else set()
        if not query.cancelled:
            limited = query.plan.end == "scan limit"
            true.add("AthenaQuery.ScanLimitExceeded" if limited else "AthenaQuery.Cancelled")
    return true


def stopped_at_deadline(history: History, query: Query) -> bool:
    """Whether an executor stopped it, or was about to, after a deadline of one of the runs that it belonged
    to.
    """
    execution: Execution = query.subject.execution
    timeout = timeout_of(execution)
    if timeout is None:
        return False
    begins = [*execution.entry_times, *(run.began for run in execution.runs)]
    # A query that starts just as its deadline passes is stopped too.
    deadlines = [each + timeout for each in begins if each + timeout >= query.submitted - TIME_LIMIT]
    # The functions compare times of two clocks, and take two seconds before a stop for its effect.
    return any(query.ended_at >= each - max(history.skew + 1, 2) for each in deadlines)


def error_without_query(history: History, execution: Execution, run: Run, end: Ended) -> str | None:
    """Why this is not the error of an execution that has no query, or None if it is."""
    error = end.error
    try:
        read_input(execution.input, history.deployments[0].settings())
    except InvalidInput:
        return None if error == "AthenaQuery.InvalidInput" else "its input is invalid"
    except AthenaQueryError:
        return "its input is valid"
    size = len(json.dumps(execution.input))
    if error == "AthenaQuery.InvalidInput":
        return None if size > LARGE_INPUT else "its input is valid"
    timeout = timeout_of(execution)
    if error == "AthenaQuery.TimedOut" and timeout is not None:
        return (
            None if end.at >= entry_time(execution, run) + timeout - history.skew - 0.1 else "it is too early"
        )
    started = [
        query for query in queries_of_run(history, run) if query.subject.entry == len(execution.entry_times)
    ]
    if error == "AthenaQuery.InvalidRequest" and not started and _may_be_refused(history, execution, end):
        return None
    return f"{error or end.status} names no query"


def _may_be_refused(history: History, execution: Execution, end: Ended) -> bool:
    named = execution.input.get("NamedQueryId")
    if named == NAMED_QUERY:
        return NAMED_QUERY not in history.athena.named_queries and end.at > 0
    refused = any(word in execution.input.get("QueryString", "") for word in ("REFUSED", "DENIED"))
    return named == ABSENT_NAMED_QUERY or refused


def expected_document(
    history: History, execution: Execution, run: Run, end: Ended, query: Query | None
) -> dict[str, Any]:
    """Fields that the execution's output or cause must have."""
    if query is None:
        none = {"State": None, "ErrorCategory": None, "ErrorType": None}
        if end.error == "AthenaQuery.InvalidInput":
            return none | {"Attempts": 0, "Labels": {}}
        attempts = attempts_of(history, execution, run) - 1
        return none | {"Attempts": attempts, "Labels": execution.input.get("Labels", {})}
    labels = execution.input.get("Labels", {})
    attempts = attempts_of(history, execution, run)
    if run.entries == 0:
        # Redriven in the fallback, which found the query of the earlier run.
        own = query.subject.run
        attempts = attempts_of(history, execution, own, query.subject.entry - own.entries_before)
    if end.status == "SUCCEEDED":
        ddl = str(query.request["QueryString"]).startswith("CREATE")
        return {
            "State": "SUCCEEDED",
            "StatementType": "DDL" if ddl else "DML",
            "OutputLocation": output_location(query),
            "EstimatedCostUsd": cost_usd(query),
            "Attempts": attempts,
            "Labels": labels,
        }
    failure = query.plan.failure if _STATE_OF[end.error] == "FAILED" else None
    return {
        "State": _STATE_OF[end.error],
        "ErrorCategory": failure.category if failure else None,
        "ErrorType": failure.type if failure else None,
        "DataScannedInBytes": scanned_bytes(query),
        "EstimatedCostUsd": 0.0 if failure else cost_usd(query),
        "Attempts": attempts,
        "Labels": labels,
    }


def reason_is_true(query: Query, error: str, reason: str) -> bool:
    """Whether the cause's reason is Athena's, cut where it is too long."""
    if error == "AthenaQuery.TimedOut":
        return "deadline" in reason
    if error == "AthenaQuery.ScanLimitExceeded":
        return reason.startswith(SCAN_LIMIT_REASON) and f"{scanned_bytes(query):,}" in reason
    wanted = "stopped" if error == "AthenaQuery.Cancelled" else "it failed: " + query.request["QueryString"]
    if len(wanted) > _REASON_CHARACTERS:
        return len(reason) <= _REASON_CHARACTERS and wanted.startswith(reason[:4_900])
    return reason == wanted


def cost_usd(query: Query) -> float:
    megabytes = max(_LEAST_MEGABYTES, -(-scanned_bytes(query) // 10**6))
    return round(megabytes * _USD_PER_MEGABYTE, 8)


def expected_metrics(callback: Callback) -> Counter[str]:
    """The metrics of outcomes that the invocation emits which sends this callback."""
    name = callback.error.removeprefix("AthenaQuery.")
    match name:
        case "":
            return Counter({Metric.SUCCEEDED: 1})
        case "RunAgain":
            return Counter({Metric.RERUNS: 1})
        case "Throttled":
            return Counter({Metric.THROTTLED_STARTS: 1})
    return Counter({name: 1, Metric.FAILURES: 1})


def stuck_intervals(history: History, execution: Execution) -> Iterator[tuple[float, float]]:
    """When the execution ran without a query, or with one that had ended and was not settled: `(since,
    until)`.
    """
    for run in execution.runs:
        until = run.end.at if run.end else inf
        own = [
            (max(adopted_at(history, query, run), query.submitted), query)
            for query in queries_of(history, execution)
            if query.subject.run is run or adopted_at(history, query, run) < inf
        ]
        yield run.began, min([until, *(since for since, _ in own)])
        for since, query in own:
            settled = [
                each.at
                for each in history.callbacks
                if each.run is run and each.at >= max(since, query.submitted)
            ]
            # Athena may resume a query after FAILED.
            for step, following in zip_longest(query.history, query.history[1:]):
                if step.state in TERMINAL_STATES:
                    resumed = following.time if following else inf
                    yield max(since, step.time), min([until, resumed, *settled])


def expected_settled_by(history: History, run: Run, end: Ended) -> set[str]:
    """What detected the query's end: the source of the callback that ended the run, or a poll if none did."""
    callbacks = [each for each in history.callbacks if each.run is run and each.at <= end.at]
    last = callbacks[-1] if callbacks else None
    if last is None or last.error or last.at < end.at:
        return {"poll"}
    invocation = last.invocation
    if invocation.function == "checker":
        return {"event"}
    return {"poll"} if invocation.payload["StateName"] == "Failed" else {"executor", "poll"}
