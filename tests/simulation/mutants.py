"""Known-bad variants of the functions, the document and the rules: the simulation must catch each.

A mutant shows that the checks can fail. Each is one small patch, and most are bugs of real designs.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from unittest.mock import patch

import functions.settle as settling
from functions import callbacks, canceller, checker, errors, executor, outcome, queries
from functions.observability import logger
from functions.queries import Query
from functions.task_table import Entry, ExecutionItem, QueryItem, TaskTable
from tests.simulation.events import RULES
from tests.simulation.world import Variant

Patch = Callable[[ExitStack], None]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """`patch` changes the functions' code while it is applied, `variant` the document and the rules.

    `caught_by` names the check that it was made for; others may catch it too.
    """

    about: str
    caught_by: str
    patch: Patch | None = None
    variant: Variant = Variant()  # noqa: RUF009 — immutable


@contextmanager
def applied(name: str | None) -> Iterator[Variant]:
    """Apply a mutant, or none, while the context lasts."""
    with ExitStack() as patches:
        if name is None:
            yield Variant()
            return
        mutant = MUTANTS[name]
        if mutant.patch is not None:
            mutant.patch(patches)
        yield mutant.variant


# The rendezvous.


def _executor_ignores_noted_state(patches: ExitStack) -> None:
    def only_poll(runtime: Any, item: QueryItem, by: Any) -> None:
        if by != "executor":
            settling.settle(runtime, item, by)

    patches.enter_context(patch.object(executor, "settle", only_poll))


def _event_is_believed(patches: ExitStack) -> None:
    def believe(runtime: Any, item: QueryItem, by: Any) -> None:
        athena = _Believer(runtime.athena, item.recorded_state)
        settling.settle(replace(runtime, athena=athena), item, by)

    patches.enter_context(patch.object(checker, "settle", believe))


class _Believer:
    """An Athena client that says what the event said."""

    def __init__(self, athena: Any, state: str | None) -> None:
        self._athena, self._state = athena, state

    def get_query_execution(self, **arguments: Any) -> Any:
        answer = self._athena.get_query_execution(**arguments)
        answer["QueryExecution"]["Status"]["State"] = self._state
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._athena, name)


def _success_before_the_state_is_read(patches: ExitStack) -> None:
    def hasty(runtime: Any, item: QueryItem, by: Any) -> None:
        if item.task_token is not None:
            output = {"QueryId": item.query_id, "State": "SUCCEEDED"}
            callbacks.succeed(runtime.stepfunctions, item.task_token, json.dumps(output))
        settling.settle(runtime, item, by)

    patches.enter_context(patch.object(checker, "settle", hasty))


def _old_token_is_kept(patches: ExitStack) -> None:
    offer = TaskTable.store_token

    def keep(table: TaskTable, query_id: str, task_token: str, terms: Any, now: float) -> QueryItem:
        return offer(table, query_id, table.find_query(query_id).task_token or task_token, terms, now)

    patches.enter_context(patch.object(TaskTable, "store_token", keep))


def _spent_token_is_an_error(patches: ExitStack) -> None:
    patches.enter_context(patch.object(callbacks, "_LATE", frozenset()))


def _unknown_query_is_an_error(patches: ExitStack) -> None:
    def strict(runtime: Any, item: QueryItem, by: Any) -> None:
        if item.terms is None:
            raise KeyError(item.query_id)
        settling.settle(runtime, item, by)

    patches.enter_context(patch.object(checker, "settle", strict))


# Starting.


def _random_client_request_token(patches: ExitStack) -> None:
    start, serials = queries.start, count()

    def start_anew(athena: Any, statement: Any, request: Any, settings: Any, token: str) -> str:
        return start(athena, statement, request, settings, f"{next(serials):04d}{token[4:]}")

    patches.enter_context(patch.object(queries, "start", start_anew))


def _one_client_request_token(patches: ExitStack) -> None:
    """Every entry of an execution starts the same query: a re-run and a redrive get the failed one back."""
    read = Entry.read.__func__  # type: ignore[attr-defined]

    def read_as_one(execution_id: str, start: Any) -> Entry:
        first = read(Entry, execution_id, {"EnteredTime": "2026-01-01", "RedriveCount": 0, "RunAgain": {}})
        entry: Entry = read(Entry, execution_id, start)
        return replace(entry, id=first.id)

    patches.enter_context(patch.object(Entry, "read", staticmethod(read_as_one)))


def _known_query_is_not_looked_up(patches: ExitStack) -> None:
    """The executor starts the query each time, and Athena has forgotten the token meanwhile."""
    _random_client_request_token(patches)
    patches.enter_context(patch.object(ExecutionItem, "query_of", lambda _item, _entry_id: None))


def _no_announcement(patches: ExitStack) -> None:
    def say_nothing(table: TaskTable, execution_id: str, _entry: Any, _digest: Any, _now: float) -> Any:
        return table.find_execution(execution_id)

    patches.enter_context(patch.object(TaskTable, "announce_start", say_nothing))


def _every_refusal_withdraws(patches: ExitStack) -> None:
    """As the executor was before the simulation: see its history."""
    patches.enter_context(patch.object(ExecutionItem, "announces", lambda _item, _entry_id: False))


# Cancelling and deadlines.


def _nothing_stops_the_query(patches: ExitStack) -> None:
    patches.enter_context(patch.object(canceller, "run", lambda _event, _aws: None))


def _canceller_leaves_no_mark(patches: ExitStack) -> None:
    def find(table: TaskTable, execution_id: str, _redrive_count: int, _now: float) -> ExecutionItem:
        return replace(table.find_execution(execution_id), announced=())

    patches.enter_context(patch.object(TaskTable, "mark_ended", find))


def _executor_overlooks_the_mark(patches: ExitStack) -> None:
    register = TaskTable.register_start

    def overlook(table: TaskTable, *arguments: Any) -> ExecutionItem:
        return replace(register(table, *arguments), ended=-1)

    patches.enter_context(patch.object(TaskTable, "register_start", overlook))


def _canceller_does_not_wait(patches: ExitStack) -> None:
    patches.enter_context(patch.object(canceller, "CONFIRMATION_SECONDS", -1_000_000))


def _canceller_ignores_redrives(patches: ExitStack) -> None:
    """A late event of an execution's first end also stops what its redrive runs."""
    mark_ended = TaskTable.mark_ended

    def all_old(table: TaskTable, *arguments: Any) -> ExecutionItem:
        item = mark_ended(table, *arguments)
        return replace(item, started=tuple(replace(each, redrive_count=0) for each in item.started))

    patches.enter_context(patch.object(TaskTable, "mark_ended", all_old))


def _no_deadline(patches: ExitStack) -> None:
    patches.enter_context(patch.object(executor, "_late", lambda _job, _aws: False))


def _deadline_is_not_noted(patches: ExitStack) -> None:
    patches.enter_context(patch.object(TaskTable, "record_deadline", lambda *_arguments: None))


def _every_late_end_is_a_deadline(patches: ExitStack) -> None:
    """As the executor was before the simulation: it noted the deadline of a query that had ended before."""
    offer = TaskTable.store_token

    def note_first(table: TaskTable, query_id: str, task_token: str, terms: Any, now: float) -> QueryItem:
        if terms.deadline is not None and now >= terms.deadline:
            table.record_deadline(query_id, now)
        return offer(table, query_id, task_token, terms, now)

    patches.enter_context(patch.object(TaskTable, "store_token", note_first))


# Re-runs and the contract.


def _writes_are_repeated(patches: ExitStack) -> None:
    def generous(query: Query, terms: Any, **options: Any) -> errors.AthenaQueryError:
        return outcome.error_of(query, replace(terms, idempotent=True), **options)

    patches.enter_context(patch.object(settling, "error_of", generous))


def _attempts_have_no_end(patches: ExitStack) -> None:
    def generous(query: Query, terms: Any, **options: Any) -> errors.AthenaQueryError:
        return outcome.error_of(query, replace(terms, max_attempts=99), **options)

    patches.enter_context(patch.object(settling, "error_of", generous))


def _user_errors_are_repeated(patches: ExitStack) -> None:
    def generous(query: Query, terms: Any, **options: Any) -> errors.AthenaQueryError:
        return outcome.error_of(replace(query, retryable=True), terms, **options)

    patches.enter_context(patch.object(settling, "error_of", generous))


def _output_lacks_attempts(patches: ExitStack) -> None:
    def short(*arguments: Any, **options: Any) -> dict[str, Any]:
        output = outcome.output_of(*arguments, **options)
        del output["Attempts"]
        return output

    patches.enter_context(patch.object(settling, "output_of", short))


def _token_is_logged(patches: ExitStack) -> None:
    offer = TaskTable.store_token

    def tell(table: TaskTable, query_id: str, task_token: str, terms: Any, now: float) -> QueryItem:
        logger.info("offering", token=task_token)
        return offer(table, query_id, task_token, terms, now)

    patches.enter_context(patch.object(TaskTable, "store_token", tell))


def _reason_is_logged(patches: ExitStack) -> None:
    def tell(query: Query, terms: Any, **options: Any) -> errors.AthenaQueryError:
        logger.info("failed", reason=query.reason)
        return outcome.error_of(query, terms, **options)

    patches.enter_context(patch.object(settling, "error_of", tell))


def _fault_is_not_framed(patches: ExitStack) -> None:
    """Botocore's errors leave the function as they are; InvalidToken quotes the token."""

    def fail(_stepfunctions: Any, task_token: str, _error: Any) -> bool:
        raise RuntimeError(f"Invalid Token: {task_token}")

    patches.enter_context(patch.object(callbacks, "fail", fail))


# The document.


def _without_fallback(document: Any) -> None:
    state = document["States"]["Start query"]
    state["TimeoutSeconds"] = 172_000
    state["Catch"] = [each for each in state["Catch"] if each["ErrorEquals"] != ["States.Timeout"]]


def _with_deadline_from_each_try(document: Any) -> None:
    """As the document was before the simulation."""
    state = document["States"]["Start query"]
    state["TimeoutSeconds"] = state["TimeoutSeconds"].replace("$limit - $late", "$limit")


def _with_blanket_retry(document: Any) -> None:
    document["States"]["Start query"]["Retry"][1]["ErrorEquals"] = ["States.TaskFailed"]


def _without_crash_retry(document: Any) -> None:
    for retrier in document["States"]["Start query"]["Retry"]:
        retrier["ErrorEquals"] = [each for each in retrier["ErrorEquals"] if each != "Runtime.ExitError"]


def _with_failed_as_done(document: Any) -> None:
    for choice in document["States"]["Check query status"]["Choices"]:
        choice["Next"] = "Done"


def _with_blind_wait(document: Any) -> None:
    """The polling loop of the original design: it waits for the interval, and hears no event meanwhile."""
    document["States"]["Wait"] = {
        "Type": "Wait",
        "Seconds": "{% $states.input.WaitSeconds %}",
        "Next": "Get query status",
    }


def _with_forgotten_entry(document: Any) -> None:
    """The fallback asks for the query of its own entry, not for that of "Start query"."""
    for name in ("Get query status", "Wait", "Failed"):
        document["States"][name]["Arguments"]["Payload"]["Start"] = {
            "EnteredTime": "{% $states.context.State.EnteredTime %}",
            "RedriveCount": "{% [$states.context.Execution.RedriveCount, 0][0] %}",
            "RunAgain": {},
        }


_RULES_WITHOUT_CANCELLED = {
    **RULES,
    "checker": {
        **RULES["checker"],
        "detail": {**RULES["checker"]["detail"], "currentState": ["SUCCEEDED", "FAILED"]},
    },
}

MUTANTS = {
    "executor ignores a state that is already there": Mutant(
        about="a fast query's event comes before its token",
        caught_by="ends_in_time",
        patch=_executor_ignores_noted_state,
    ),
    "success is sent before the state is read": Mutant(
        about="every event is taken for a success",
        caught_by="not_before_its_query",
        patch=_success_before_the_state_is_read,
    ),
    "the event is believed": Mutant(
        about="Athena is not asked what the query's state is",
        caught_by="not_before_its_query",
        patch=_event_is_believed,
    ),
    "CANCELLED is not in the rule": Mutant(
        about="nobody hears of a cancelled query",
        caught_by="ends_in_time",
        variant=Variant(rules=_RULES_WITHOUT_CANCELLED),
    ),
    "the Athena token is random": Mutant(
        about="a repeated start starts a second query",
        caught_by="one_query_per_attempt",
        patch=_random_client_request_token,
    ),
    "the Athena token is the execution's": Mutant(
        about="a re-run gets the failed query back",
        caught_by="ends_with_true_final_state",
        patch=_one_client_request_token,
    ),
    "a started query is not looked up": Mutant(
        about='"Wait" starts the query again',
        caught_by="one_query_per_attempt",
        patch=_known_query_is_not_looked_up,
    ),
    "the old token is kept on re-registration": Mutant(
        about="the event settles a task that no longer waits",
        caught_by="ends_in_time",
        patch=_old_token_is_kept,
    ),
    "nothing stops the query on abort": Mutant(
        about="it runs on", caught_by="nothing_left_running", patch=_nothing_stops_the_query
    ),
    "the canceller leaves no mark": Mutant(
        about="an executor that comes later starts a query",
        caught_by="nothing_left_running",
        patch=_canceller_leaves_no_mark,
    ),
    "the executor overlooks the mark": Mutant(
        about="the abort came while it started the query",
        caught_by="nothing_left_running",
        patch=_executor_overlooks_the_mark,
    ),
    "a start is not announced": Mutant(
        about="an executor that dies before it registers a query leaves no trace",
        caught_by="nothing_left_running",
        patch=_no_announcement,
    ),
    "every refusal withdraws the announcement": Mutant(
        about="so the trace of an executor that died is lost",
        caught_by="nothing_left_running",
        patch=_every_refusal_withdraws,
    ),
    "the canceller does not wait for a start": Mutant(
        about="it looks for a query that is not there yet",
        caught_by="nothing_left_running",
        patch=_canceller_does_not_wait,
    ),
    "the canceller ignores redrives": Mutant(
        about="a late event stops the redriven query",
        caught_by="stops_only_its_own",
        patch=_canceller_ignores_redrives,
    ),
    "the fallback is missing": Mutant(
        about="a lost event is never made up for",
        caught_by="ends_with_true_final_state",
        variant=Variant(edit_document=_without_fallback),
    ),
    "the fallback waits blindly": Mutant(
        about="it hears no event between two looks",
        caught_by="ends_in_time",
        variant=Variant(edit_document=_with_blind_wait),
    ),
    "the fallback forgets the entry": Mutant(
        about="it finds no query, and starts another",
        caught_by="one_query_per_attempt",
        variant=Variant(edit_document=_with_forgotten_entry),
    ),
    "a failed query is done": Mutant(
        about="an error ends as success",
        caught_by="ends_with_true_final_state",
        variant=Variant(edit_document=_with_failed_as_done),
    ),
    "a blanket retry": Mutant(
        about="it repeats what the caller should hear",
        caught_by="ends_in_time",
        variant=Variant(edit_document=_with_blanket_retry),
    ),
    "a crash is not retried": Mutant(
        about="one crash ends the execution",
        caught_by="ends_with_true_final_state",
        variant=Variant(edit_document=_without_crash_retry),
    ),
    "a spent token is an error": Mutant(
        about="a second event fails", caught_by="no_late_token_is_an_error", patch=_spent_token_is_an_error
    ),
    "an unknown query is an error": Mutant(
        about="an early event fails",
        caught_by="dead_letters_are_explained",
        patch=_unknown_query_is_an_error,
    ),
    "no deadline": Mutant(
        about="TimeoutSeconds does nothing", caught_by="deadline_is_kept", patch=_no_deadline
    ),
    "the deadline is not noted": Mutant(
        about="a query stopped at its deadline looks cancelled",
        caught_by="ends_with_true_final_state",
        patch=_deadline_is_not_noted,
    ),
    "every late end is a deadline": Mutant(
        about="a query that somebody cancelled looks timed out",
        caught_by="ends_with_true_final_state",
        patch=_every_late_end_is_a_deadline,
    ),
    "the deadline counts from each try": Mutant(
        about="a throttled start puts it off",
        caught_by="deadline_is_kept",
        variant=Variant(edit_document=_with_deadline_from_each_try),
    ),
    "writes are repeated": Mutant(
        about="without Idempotent", caught_by="attempts_are_bounded", patch=_writes_are_repeated
    ),
    "attempts have no end": Mutant(
        about="MaxAttempts does nothing", caught_by="attempts_are_bounded", patch=_attempts_have_no_end
    ),
    "a user's errors are repeated": Mutant(
        about="though they will recur", caught_by="attempts_are_bounded", patch=_user_errors_are_repeated
    ),
    "the output lacks a field": Mutant(
        about="against its schema", caught_by="keeps_the_contract", patch=_output_lacks_attempts
    ),
    "the token is logged": Mutant(
        about="at registration", caught_by="logs_keep_secrets", patch=_token_is_logged
    ),
    "the reason is logged": Mutant(
        about="which quotes the SQL", caught_by="logs_keep_secrets", patch=_reason_is_logged
    ),
    "a fault is not lambda_handler": Mutant(
        about="its text quotes the token", caught_by="logs_keep_secrets", patch=_fault_is_not_framed
    ),
}
