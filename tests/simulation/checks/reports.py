"""The contract, log lines and metrics: what callers and operators receive, and what they must not."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema

from functions.events import SCHEDULED_EVENT
from functions.metric_names import Metric
from tests.simulation.athena import scanned_bytes
from tests.simulation.expectations import (
    ends,
    expected_document,
    expected_metrics,
    expected_settled_by,
    name_of,
    outcome_of,
    query_of,
    reason_is_true,
    stuck_intervals,
)
from tests.simulation.interpreter import Execution
from tests.simulation.lambdas import Invocation
from tests.simulation.scenarios import SECRET
from tests.simulation.world import History

SCHEMAS = Path(__file__).parents[3] / "statemachine"

# How far the times of Athena, of lists and of reads from the table may differ from the simulation's own, in
# seconds.
_SLACK = 6.0

_OUTCOMES = (
    *(
        Metric.SUCCEEDED,
        Metric.FAILED,
        Metric.TRANSIENT_FAILURE,
        Metric.SCAN_LIMIT_EXCEEDED,
        Metric.CANCELLED,
    ),
    *(Metric.TIMED_OUT, Metric.INVALID_INPUT, Metric.INVALID_REQUEST, Metric.FAILURES, Metric.RERUNS),
    Metric.THROTTLED_STARTS,
)


def keeps_the_contract(history: History) -> Iterator[str]:
    for execution, _run, end in ends(history):
        try:
            if end.status == "SUCCEEDED":
                _schema("output")(end.output)
            elif end.error.startswith("AthenaQuery."):
                _schema("error")(json.loads(end.cause))
        except fastjsonschema.JsonSchemaException as fault:
            yield f"{name_of(execution)}: {fault}"


def reports_the_truth(history: History) -> Iterator[str]:
    """Output and cause hold what Athena reports of the query, how often it ran, and what detected its end."""
    for execution, run, end in ends(history):
        document = outcome_of(end)
        if document is None:
            continue
        query = query_of(history, end)
        if query is not None and end.error and not reason_is_true(query, end.error, document["Reason"]):
            yield f"{name_of(execution)}: the reason of {end.error} is {document['Reason'][:100]!r}"
        for field, wanted in expected_document(history, execution, run, end, query).items():
            if document.get(field) != wanted:
                yield f"{name_of(execution)}: {field} is {document.get(field)!r}, not {wanted!r}"
        allowed = expected_settled_by(history, run, end)
        if end.status == "SUCCEEDED" and document.get("SettledBy") not in allowed:
            source = document.get("SettledBy")
            yield f"{name_of(execution)}: SettledBy is {source!r}, not one of {sorted(allowed)}"


def reports_each_outcome(history: History) -> Iterator[str]:
    """Whoever settles a task emits the metrics of its outcome once, and the log line "settled"."""
    metrics: dict[int, Counter[str]] = defaultdict(Counter)
    for invocation, name, value in history.reports.metrics:
        if invocation is not None:
            metrics[invocation.serial][name] += 1
            metrics[invocation.serial][f"{name} value"] += int(value)
    lines = {
        each.serial: json.loads(line) for each, line in history.reports.lines if each and '"settled"' in line
    }
    callbacks = {callback.invocation.serial: callback for callback in history.callbacks}
    for invocation in history.lambdas.invocations:
        if invocation.outcome is None or invocation.outcome.error is not None or invocation.injected:
            continue
        emitted, line = metrics[invocation.serial], lines.get(invocation.serial)
        callback = callbacks.get(invocation.serial)
        wanted = expected_metrics(callback) if callback else Counter()
        if invocation.outcome.value and "Output" in invocation.outcome.value:
            wanted += Counter({Metric.SUCCEEDED: 1})
        outcomes = Counter({name: emitted[name] for name in _OUTCOMES if emitted[name]})
        if outcomes != wanted:
            yield f"{invocation.name} emitted {dict(outcomes)}, not {dict(wanted)}"
        document = callback.document if callback else (invocation.outcome.value or {}).get("Output")
        if document is not None and document.get("QueryId"):
            yield from _faults_of_line(history, invocation, document, emitted, line)


def _faults_of_line(
    history: History,
    invocation: Invocation,
    document: Mapping[str, Any],
    emitted: Counter[str],
    line: Mapping[str, Any] | None,
) -> Iterator[str]:
    query = history.athena.queries[document["QueryId"]]
    if line is None:
        yield f"{invocation.name} settled query {query.number} and logged nothing"
        return
    wanted = {
        "query_id": query.id,
        "execution_id": query.subject.execution.arn if query.subject else None,
        "attempt": document.get("Attempts"),
        "settled_by": document.get("SettledBy", line["settled_by"]),
        "state": document.get("State"),
        "scanned_bytes": scanned_bytes(query),
    }
    for name, value in wanted.items():
        if line.get(name) != value:
            yield f"{invocation.name} logged {name} {line.get(name)!r}, not {value!r}"
    if emitted[f"SettledBy{str(line['settled_by']).capitalize()}"] != 1:
        yield f"{invocation.name} emitted no metric of what detected the end of query {query.number}"
    if emitted[f"{Metric.DATA_SCANNED} value"] != scanned_bytes(query):
        yield f"{invocation.name} emitted other bytes than query {query.number} scanned"


def reports_the_final_error(history: History) -> Iterator[str]:
    """Each end as Throttled is counted, unless a redrive came first; no other end is untyped."""
    counts = Counter(name for _, name, _ in history.reports.metrics)
    throttled = sum(
        end.error == "AthenaQuery.Throttled" and run is execution.run for execution, run, end in ends(history)
    )
    if history.faults.profile.level == "calm" and counts[Metric.THROTTLED] < throttled:
        yield f"{throttled} executions ended as Throttled, {counts[Metric.THROTTLED]} were counted"
    if counts[Metric.UNTYPED_FAILURES]:
        yield f"{counts[Metric.UNTYPED_FAILURES]} untyped failures were counted"


def measures_stuck_executions(history: History) -> Iterator[str]:
    """Each sweep emits for how long the oldest stuck execution has been stuck, and no longer."""
    emitted = {
        invocation.serial: value
        for invocation, name, value in history.reports.metrics
        if invocation is not None and name == Metric.OLDEST_STUCK_EXECUTION
    }
    intervals = [
        (execution, since, until)
        for execution in history.machine.executions
        for since, until in stuck_intervals(history, execution)
    ]
    for invocation in history.lambdas.invocations:
        if invocation.payload.get("detail-type") != SCHEDULED_EVENT or invocation.outcome is None:
            continue
        at, value = invocation.began, emitted.get(invocation.serial)
        if value is None:
            if invocation.outcome.error is None:
                yield f"{invocation.name} emitted no metric"
            continue
        surely = max(
            (
                at - since
                for execution, since, until in intervals
                if since <= at < until - _SLACK and not _token_spent(history, execution, since, at)
            ),
            default=0.0,
        )
        if value < surely - _SLACK and history.faults.profile.level != "storm":
            yield f"{invocation.name} measured {value} s although an execution was stuck for {surely:.0f} s"
        maybe = max(
            (at - since for _, since, until in intervals if since <= at + _SLACK and at - _SLACK < until),
            default=0.0,
        )
        if value > maybe + 2 * _SLACK and history.faults.profile.level != "storm":
            yield f"{invocation.name} measured {value} s although none was stuck for over {maybe:.0f} s"


def _token_spent(history: History, execution: Execution, since: float, at: float) -> bool:
    """Whether a late callback has removed the token in this time: a slow executor had stored that of a task
    that has timed out. Then nothing shows that the execution is stuck, until the next poll.
    """
    return any(
        name == Metric.LATE_CALLBACKS
        and invocation is not None
        and invocation.subject is not None
        and invocation.subject.execution is execution
        and invocation.began < at
        and (invocation.ended is None or invocation.ended > since)
        for invocation, name, _ in history.reports.metrics
    )


def logs_keep_secrets(history: History) -> Iterator[str]:
    """Promise 5: neither SQL nor a task token in a log line, a dead letter, or an exception's text."""
    lines = [
        *(line for _, line in history.reports.lines),
        *(str(each.exception) for each in history.lambdas.invocations if each.exception),
        *(json.dumps(letter.event) for letter in history.lambdas.dead_letters),
    ]
    for line in lines:
        if SECRET in line or "task-token" in line:
            yield line


@cache
def _schema(name: str) -> Callable[[Any], Any]:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    return fastjsonschema.compile(schema)
