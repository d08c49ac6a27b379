"""What runs again, and what an execution ends as."""

from dataclasses import replace
from typing import Any

import functions.settle as settling
from functions import errors, outcome
from functions.queries import Query
from functions.task_table import Entry, QueryItem, Terms
from tests.simulation.mutants.registry import Patches, code


def _change_terms(patches: Patches, **changes: Any) -> None:
    def generous(query: Query, item: QueryItem, terms: Terms, settings: Any) -> errors.AthenaQueryError:
        return outcome.error_of(query, item, replace(terms, **changes), settings)

    patches.replace(settling, "error_of", generous)


@code("writes are repeated", "although they are not Idempotent", caught_by="attempts_are_bounded")
def _(patches: Patches) -> None:
    _change_terms(patches, idempotent=True)


@code("attempts have no end", "MaxAttempts does nothing", caught_by="attempts_are_bounded")
def _(patches: Patches) -> None:
    _change_terms(patches, max_attempts=99)


@code(
    "nothing runs again",
    "each transient failure ends the execution",
    caught_by="transient_failures_are_retried",
)
def _(patches: Patches) -> None:
    _change_terms(patches, max_attempts=1)


@code(
    "a read runs only once", "only what is Idempotent runs again", caught_by="transient_failures_are_retried"
)
def _(patches: Patches) -> None:
    patches.replace(outcome, "only_reads", lambda _sql: False)


@code(
    "attempts are counted through a redrive",
    "a redriven execution has fewer",
    caught_by="transient_failures_are_retried",
    scenario="redrives",
)
def _(patches: Patches) -> None:
    read = Entry.read.__func__  # type: ignore[attr-defined]  # the function below the class method

    def through(execution_id: str, start: Any) -> Entry:
        entry: Entry = read(Entry, execution_id, start)
        return replace(entry, attempt=int(start["RunAgain"].get("Attempt", 1)) + entry.redrive_count)

    patches.replace(Entry, "read", staticmethod(through))


@code("every failure is transient", "users' errors run again", caught_by="attempts_are_bounded")
def _(patches: Patches) -> None:
    patches.replace(Query, "transient", property(lambda _query: True))


@code("category 1 decides", "although Athena puts users' errors there", caught_by="attempts_are_bounded")
def _(patches: Patches) -> None:
    patches.replace(Query, "transient", property(lambda query: query.retryable or query.error_category == 1))


@code("only category 1 is transient", "Retryable does not count", caught_by="ends_with_true_final_state")
def _(patches: Patches) -> None:
    patches.replace(Query, "transient", property(lambda query: query.error_category == 1))


@code(
    "the scan limit counts as a cancellation",
    "the caller searches for who stopped it",
    caught_by="ends_with_true_final_state",
)
def _(patches: Patches) -> None:
    patches.replace(outcome, "_SCAN_LIMIT", "no such reason")


@code("Attempts is always 1", "in output and cause", caught_by="reports_the_truth")
def _(patches: Patches) -> None:
    _change_output(patches, Attempts=1)


def _change_output(patches: Patches, **changes: Any) -> None:
    def changed(*arguments: Any, **options: Any) -> dict[str, Any]:
        return {**outcome.output_of(*arguments, **options), **changes}

    patches.replace(settling, "output_of", changed)


@code("the labels are left out", "costs cannot be attributed", caught_by="reports_the_truth")
def _(patches: Patches) -> None:
    _change_output(patches, Labels={})


@code("SettledBy is always event", "nobody notices that events are lost", caught_by="reports_the_truth")
def _(patches: Patches) -> None:
    _change_output(patches, SettledBy="event")


@code(
    "the output location is another's",
    "the caller reads another query's result",
    caught_by="reports_the_truth",
)
def _(patches: Patches) -> None:
    _change_output(patches, OutputLocation="s3://results/another.csv")


@code("the cost is left out", "a query counts as free", caught_by="reports_the_truth")
def _(patches: Patches) -> None:
    patches.replace(outcome, "estimated_cost_usd", lambda *_arguments: 0.0)


@code("the output lacks a field", "against its schema", caught_by="keeps_the_contract")
def _(patches: Patches) -> None:
    def short(*arguments: Any, **options: Any) -> dict[str, Any]:
        output = outcome.output_of(*arguments, **options)
        del output["Attempts"]
        return output

    patches.replace(settling, "output_of", short)


@code("the reason is left out", "the caller learns nothing", caught_by="reports_the_truth")
def _(patches: Patches) -> None:
    patches.replace(outcome, "_reason", lambda *_arguments: "The query failed.")


@code(
    "the bytes are left out of a cause", "a query that was billed appears free", caught_by="reports_the_truth"
)
def _(patches: Patches) -> None:
    make = outcome.error_of

    def without_bytes(*arguments: Any) -> errors.AthenaQueryError:
        error = make(*arguments)
        error.scanned_bytes = None
        return error

    patches.replace(settling, "error_of", without_bytes)
