"""How a query is started once, whatever fails in between, and how a redrive finds it."""

from dataclasses import replace
from itertools import count
from typing import Any

from functions import canceller, queries, starts
from functions.errors import InvalidRequest, ServiceFault
from functions.task_table import ANNOUNCED, ENDED, STATEMENT, Entry, ExecutionItem, TaskTable
from tests.simulation.mutants.registry import Patches, code


@code(
    "the Athena token is random", "a repeated start starts a second query", caught_by="one_query_per_attempt"
)
def _(patches: Patches) -> None:
    start, serials = queries.start, count()

    def start_anew(athena: Any, statement: Any, request: Any, settings: Any, token: str) -> str:
        return start(athena, statement, request, settings, f"{next(serials):04d}{token[4:]}")

    patches.replace(queries, "start", start_anew)


@code(
    "the Athena token is the execution's",
    "a re-run and a redrive get the failed query back",
    caught_by="ends_with_true_final_state",
)
def _(patches: Patches) -> None:
    read = Entry.read.__func__  # type: ignore[attr-defined]  # the function below the class method

    def read_as_one(execution_id: str, start: Any) -> Entry:
        first = read(Entry, execution_id, {"EnteredTime": "2026-01-01", "RedriveCount": 0, "RunAgain": {}})
        entry: Entry = read(Entry, execution_id, start)
        return replace(entry, id=first.id)

    patches.replace(Entry, "read", staticmethod(read_as_one))


@code(
    "a started query is not found",
    "each executor starts it again, and Athena has forgotten the token",
    caught_by="one_query_per_attempt",
)
def _(patches: Patches) -> None:
    start, serials = queries.start, count()

    def start_anew(athena: Any, statement: Any, request: Any, settings: Any, token: str) -> str:
        return start(athena, statement, request, settings, f"{next(serials):04d}{token[4:]}")

    patches.replace(queries, "start", start_anew)
    patches.replace(ExecutionItem, "query_of", lambda _item, _entry_id: None)


@code(
    "a start is not announced",
    "an executor that dies before it registers a query leaves no trace",
    caught_by="nothing_left_running",
    scenario="aborts",
)
def _(patches: Patches) -> None:
    patches.replace(
        TaskTable,
        "announce_start",
        lambda table, entry, _statement, _now: table.find_execution(entry.execution_id),
    )


@code(
    "every refusal withdraws the announcement",
    "the trace of an executor that died is lost",
    caught_by="nothing_left_running",
    scenario="dying executors",
)
def _(patches: Patches) -> None:
    announce = TaskTable.announce_start

    def as_first(table: TaskTable, *arguments: Any) -> ExecutionItem:
        return replace(announce(table, *arguments), announced=())

    patches.replace(TaskTable, "announce_start", as_first)


@code(
    "no refusal withdraws the announcement",
    "the canceller claims tokens for nothing",
    caught_by="claims_are_explained",
    scenario="refusals",
)
def _(patches: Patches) -> None:
    patches.replace(TaskTable, "withdraw_start", lambda *_arguments: None)


@code(
    "the announcement stays after registration",
    "the item of an execution grows with each attempt",
    caught_by="leaves_the_table_in_order",
)
def _(patches: Patches) -> None:
    merge = TaskTable._merge  # noqa: SLF001 — what the mutant changes

    def keep(table: TaskTable, key: str, now: float, *, drop: Any = (), **options: Any) -> Any:
        kept = [name for name in drop if not name.startswith((ANNOUNCED, STATEMENT))]
        return merge(table, key, now, drop=kept, **options)

    patches.replace(TaskTable, "_merge", keep)


@code(
    "no start is forgotten",
    "the item of an execution that is redriven often has no bound",
    caught_by="leaves_the_table_in_order",
    scenario="many redrives",
)
def _(patches: Patches) -> None:
    patches.replace(ExecutionItem, "outdated", lambda *_arguments: [])


@code(
    "a redrive does not imply that the earlier runs have ended",
    "a delayed executor of such a run starts a query that nothing stops",
    caught_by="nothing_left_running",
    scenario="delayed executors",
)
def _(patches: Patches) -> None:
    read = ExecutionItem.read

    def read_marks(item: Any) -> ExecutionItem:
        marks = [int(name.removeprefix(ENDED)) for name in item if name.startswith(ENDED)]
        return replace(read(item), ended=max(marks, default=-1))

    patches.replace(ExecutionItem, "read", staticmethod(read_marks))


@code(
    "an announcement sees itself",
    "each start counts as a repeated one",
    caught_by="claims_are_explained",
    scenario="refusals",
)
def _(patches: Patches) -> None:
    announce = TaskTable.announce_start

    def announced_item(table: TaskTable, entry: Entry, *arguments: Any) -> ExecutionItem:
        announce(table, entry, *arguments)
        return table.find_execution(entry.execution_id)

    patches.replace(TaskTable, "announce_start", announced_item)


@code(
    "a claim is skipped",
    "an announced start counts as none",
    caught_by="nothing_left_running",
    scenario="aborts",
)
def _(patches: Patches) -> None:
    patches.replace(queries, "claim", lambda *_arguments: True)


@code(
    "a claim is always refused",
    "an announced start counts as a query",
    caught_by="only_executors_start_queries",
    scenario="aborts",
)
def _(patches: Patches) -> None:
    patches.replace(queries, "claim", lambda *_arguments: False)


@code(
    "the claim is the statement itself",
    "it starts the query that nobody waits for",
    caught_by="only_executors_start_queries",
    scenario="aborts",
)
def _(patches: Patches) -> None:
    def start_it(runtime: Any, start: Any, request: Any) -> str:
        statement = starts._announced_statement(runtime, start, request)  # noqa: SLF001 — as the function does
        return queries.start(runtime.athena, statement, request, runtime.settings, start.entry_id)

    for module in (starts, canceller):
        patches.replace(module, "find_announced", start_it)


@code(
    "a token that was claimed is a permanent fault",
    "an executor that finds its execution ended fails",
    caught_by="no_unexplained_failure",
    scenario="aborts",
)
def _(patches: Patches) -> None:
    def fail(*_arguments: Any) -> None:
        raise ServiceFault("StartQueryExecution: IDEMPOTENT_PARAMETER_MISMATCH")

    patches.replace(starts, "_token_lost", fail)


@code(
    "other parameters with one token are the caller's fault",
    "a default that was edited ends the execution",
    caught_by="ends_with_true_final_state",
    scenario="updates",
)
def _(patches: Patches) -> None:
    start = queries.start

    def blame(*arguments: Any) -> str:
        try:
            return start(*arguments)
        except queries.TokenInUse:
            raise InvalidRequest("Idempotent parameters do not match") from None

    patches.replace(queries, "start", blame)
    _resolve_again(patches)


@code(
    "the announced statement is resolved again",
    "with a default that was edited, the query is never found",
    caught_by="no_unexplained_failure",
    scenario="updates",
)
def _(patches: Patches) -> None:
    _resolve_again(patches)


def _resolve_again(patches: Patches) -> None:
    patches.replace(
        starts,
        "_announced_statement",
        lambda runtime, _start, request: queries.resolve(runtime.athena, request, runtime.settings),
    )


@code(
    "a named query is resolved at each call",
    "it is deleted, and the healthy query is stopped",
    caught_by="ends_with_true_final_state",
    scenario="updates",
)
def _(patches: Patches) -> None:
    ensure = starts._ensure  # noqa: SLF001 — what the mutant changes

    def resolve_first(runtime: Any, entry: Entry, request: Any) -> str | None:
        queries.resolve(runtime.athena, request, runtime.settings)
        return ensure(runtime, entry, request)

    patches.replace(starts, "_ensure", resolve_first)


@code(
    "a redrive adopts nothing",
    "an INSERT that succeeded runs again",
    caught_by="redrive_adopts",
    scenario="adoptions",
)
def _(patches: Patches) -> None:
    patches.replace(starts, "_adopt", lambda *_arguments: None)


@code(
    "a redrive adopts its newest query or none",
    "one that Athena resumed and that succeeded runs twice",
    caught_by="redrive_adopts",
    scenario="resumed queries",
)
def _(patches: Patches) -> None:
    newest_first: Any = vars(ExecutionItem)["newest_first"]
    patches.replace(ExecutionItem, "newest_first", property(lambda item: newest_first.fget(item)[:1]))


@code(
    "a redrive adopts a failed query",
    "it ends as before, and nothing runs again",
    caught_by="redrive_adopts",
    scenario="redrives",
)
def _(patches: Patches) -> None:
    adopt = starts._adopt  # noqa: SLF001 — what the mutant changes

    def adopt_any(runtime: Any, entry: Entry, request: Any, known: ExecutionItem) -> str | None:
        newest = known.newest_query
        if newest is None or newest.redrive_count >= entry.redrive_count:
            return adopt(runtime, entry, request, known)
        runtime.table.record_state(newest.query_id, "FAILED", runtime.now())
        return newest.query_id

    patches.replace(starts, "_adopt", adopt_any)


@code(
    "what a redrive adopts is decided again",
    "executors of one entry find its query in different states, and one starts another",
    caught_by="starts_or_adopts",
    scenario="redrives tried twice",
)
def _(patches: Patches) -> None:
    patches.replace(TaskTable, "decide_adoption", lambda _table, _entry, query_id, _now: query_id)


@code(
    "an adopted query keeps the terms of its first run",
    "the deadline of the redrive is that of the earlier run",
    caught_by="not_timed_out_early",
    scenario="adoptions",
)
def _(patches: Patches) -> None:
    store = TaskTable.store_token

    def keep(table: TaskTable, query_id: str, task_token: str, terms: Any, now: float) -> Any:
        earlier = table.find_query(query_id).terms
        if earlier and terms:
            terms = replace(terms, deadline=earlier.deadline)
        return store(table, query_id, task_token, terms, now)

    patches.replace(TaskTable, "store_token", keep)


@code(
    "Athena's lack of access is a fault",
    "AccessDenied at the submission is retried for an hour",
    caught_by="no_unexplained_failure",
    scenario="refusals",
)
def _(patches: Patches) -> None:
    patches.replace(queries, "_INVALID", frozenset({"InvalidRequestException"}))
