"""What the canceller and the sweep stop, and how deadlines are kept."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from functions import canceller, checker, errors, executions, executor, outcome, queries, starts
from functions.executions import list_since
from functions.task_table import Entry, ExecutionItem, QueryItem, TaskTable
from tests.simulation.mutants.registry import Patches, code, stack
from tests.simulation.world import Variant


@code("no query is stopped", "it runs on after an abort", caught_by="nothing_left_running")
def _(patches: Patches) -> None:
    patches.replace(queries, "stop", lambda *_arguments: None)


@code(
    "the canceller leaves no mark",
    "an executor that comes later starts a query",
    caught_by="nothing_left_running",
    scenario="aborts",
)
def _(patches: Patches) -> None:
    patches.replace(
        TaskTable, "mark_ended", lambda table, execution_id, _count, _now: table.find_execution(execution_id)
    )


@code(
    "the executor overlooks the mark",
    "the abort came while it started the query",
    caught_by="nothing_left_running",
    scenario="aborts",
)
def _(patches: Patches) -> None:
    for name in ("announce_start", "register_start"):
        patches.replace(TaskTable, name, _overlooking(getattr(TaskTable, name)))


def _overlooking(write: Any) -> Any:
    def overlook(table: TaskTable, *arguments: Any) -> ExecutionItem:
        item: ExecutionItem = write(table, *arguments)
        return replace(item, ended=-1)

    return overlook


@code(
    "all ends have one mark",
    "that of a redrive's end is taken for the first run's",
    caught_by="nothing_left_running",
    scenario="aborts",
)
def _(patches: Patches) -> None:
    mark = TaskTable.mark_ended

    def mark_first(table: TaskTable, execution_id: str, _redrive_count: int, now: float) -> ExecutionItem:
        return mark(table, execution_id, 0, now)

    patches.replace(TaskTable, "mark_ended", mark_first)


@code(
    "the canceller ignores redrives",
    "a late event of the first end stops the redriven query",
    caught_by="stops_only_its_own",
    scenario="redrives",
)
def _(patches: Patches) -> None:
    patches.replace(
        ExecutionItem, "queries_left_by", lambda item, _count: [each.query_id for each in item.started]
    )


@code(
    "a found query is not stopped",
    "the canceller only registers it",
    caught_by="nothing_left_running",
    scenario="aborts",
)
def _(patches: Patches) -> None:
    stop = starts.stop_orphan

    def stop_registered(runtime: Any, query_id: str) -> None:
        if runtime.table.find_query(query_id).terms is not None:
            stop(runtime, query_id)

    patches.replace(canceller, "stop_orphan", stop_registered)


@code(
    "a stop is not recorded",
    "a redrive that adopts the query ends as Cancelled",
    caught_by="ends_with_true_final_state",
    scenario="redrives",
)
def _(patches: Patches) -> None:
    patches.replace(TaskTable, "record_stop", lambda *_arguments: None)


@code(
    "a claim while Athena is full is a fault",
    "the canceller fails until Athena has capacity, and its event becomes a dead letter",
    caught_by="dead_letters_are_explained",
    scenario="full",
)
def _(patches: Patches) -> None:
    confirm = canceller._confirm  # noqa: SLF001 — what the mutant changes

    def fail(*arguments: Any) -> None:
        try:
            confirm(*arguments)
        except errors.Throttled:
            raise errors.ServiceFault("StartQueryExecution: AthenaQuery.Throttled") from None

    patches.replace(canceller, "_confirm", fail)


stack(
    "there is no sweep",
    "a lost event of an end is never made up for",
    Variant(scheduled=False),
    caught_by="nothing_left_running",
    scenario="aborts",
)


@code(
    "the sweep overlooks aborted executions",
    "it lists those that failed",
    caught_by="leaves_the_table_in_order",
    scenario="aborts",
)
def _(patches: Patches) -> None:
    patches.replace(canceller, "UNSUCCESSFUL_STATUSES", ("FAILED", "TIMED_OUT"))


@code(
    "the sweep reads one page",
    "ListExecutions has more of them",
    caught_by="leaves_the_table_in_order",
    scenario="aborts",
)
def _(patches: Patches) -> None:
    def first_only(*arguments: Any, **filters: Any) -> Any:
        return list(list_since(*arguments, **filters))[:1]

    patches.replace(canceller, "list_since", first_only)


@code(
    "the sweep overlooks late redrives",
    "it lists executions by their start, and ends at the first that started long ago",
    caught_by="leaves_the_table_in_order",
    scenario="late redrives",
)
def _(patches: Patches) -> None:
    patches.replace(executions, "_listed_by", lambda execution: execution["startDate"])


@code(
    "the sweep ignores marks",
    "it cleans up after everything again",
    caught_by="sweeps_repeat_nothing",
    scenario="redrives",
)
def _(patches: Patches) -> None:
    find = TaskTable.find_executions

    def unmarked(table: TaskTable, execution_ids: Any) -> Any:
        return {id_: replace(item, cleaned_up=-1) for id_, item in find(table, execution_ids).items()}

    patches.replace(TaskTable, "find_executions", unmarked)


@code(
    "unprocessed keys are overlooked",
    "BatchGetItem leaves some out, which count as not cleaned up",
    caught_by="sweeps_repeat_nothing",
    scenario="partial answers",
)
def _(patches: Patches) -> None:
    def get_many(table: TaskTable, keys: Any) -> Any:
        wanted = [{"Id": {"S": key}} for key in keys]
        if not wanted:
            return {}
        answer = table.client.batch_get_item(RequestItems={table.name: {"Keys": wanted}})
        return {item["Id"]["S"]: item for item in answer["Responses"][table.name]}

    patches.replace(TaskTable, "_get_many", get_many)


@code(
    "an end counts as cleaned up too early",
    "the mark is set before the starts are confirmed",
    caught_by="leaves_the_table_in_order",
    scenario="aborts",
)
def _(patches: Patches) -> None:
    mark = TaskTable.mark_ended

    def mark_both(table: TaskTable, execution_id: str, redrive_count: int, now: float) -> ExecutionItem:
        item = mark(table, execution_id, redrive_count, now)
        table.mark_cleaned_up(execution_id, redrive_count, now)
        return item

    patches.replace(TaskTable, "mark_ended", mark_both)


@code(
    "the sweep measures nothing", "no alarm notices stuck executions", caught_by="measures_stuck_executions"
)
def _(patches: Patches) -> None:
    patches.replace(canceller, "_oldest_stuck_seconds", lambda _runtime: 0.0)


@code(
    "a running query counts as stuck",
    "the alarm fires for each long query",
    caught_by="measures_stuck_executions",
)
def _(patches: Patches) -> None:
    measure = canceller._oldest_stuck_seconds  # noqa: SLF001 — likewise

    def since_the_start(runtime: Any) -> float:
        now = datetime.fromtimestamp(runtime.now(), UTC)
        since = now - timedelta(days=20)
        arn = runtime.settings.state_machine_arn
        running = list_since(runtime.stepfunctions, arn, since, statusFilter="RUNNING")
        return max([measure(runtime), *((now - each["startDate"]).total_seconds() for each in running)])

    patches.replace(canceller, "_oldest_stuck_seconds", since_the_start)


@code(
    "unprocessed queries are overlooked",
    "BatchGetQueryExecution leaves some out, which do not count as stuck",
    caught_by="measures_stuck_executions",
    scenario="partial answers",
)
def _(patches: Patches) -> None:
    complete = queries.completion_times

    class _Partial:
        def __init__(self, athena: Any) -> None:
            self._athena = athena

        def batch_get_query_execution(self, **arguments: Any) -> Any:
            answer = self._athena.batch_get_query_execution(**arguments)
            return {"QueryExecutions": answer["QueryExecutions"]}

    def overlook(athena: Any, query_ids: Any) -> Any:
        return complete(_Partial(athena), query_ids)  # type: ignore[arg-type]  # as much of a client as it needs

    patches.replace(queries, "completion_times", overlook)


stack(
    "the table forgets after three days",
    "a redrive finds nothing to adopt",
    Variant(edit_deployment={"task_ttl_days": 3}),
    caught_by="redrive_adopts",
    scenario="late redrives",
)


# Deadlines.


@code("no deadline", "TimeoutSeconds does nothing", caught_by="query_deadline_is_kept", scenario="deadlines")
def _(patches: Patches) -> None:
    patches.replace(executor, "_deadline_passed", lambda *_arguments: False)


@code(
    "the deadline is not recorded",
    "a query that was stopped at its deadline ends as Cancelled",
    caught_by="ends_with_true_final_state",
    scenario="deadlines",
)
def _(patches: Patches) -> None:
    patches.replace(TaskTable, "record_deadline", lambda *_arguments: None)


@code(
    "every late end is a deadline",
    "a query that someone cancelled ends as TimedOut",
    caught_by="ends_with_true_final_state",
    scenario="deadlines",
)
def _(patches: Patches) -> None:
    kind = outcome._kind  # noqa: SLF001 — what the mutant changes

    def late(query: Any, item: QueryItem) -> Any:
        cancelled = query.state == "CANCELLED" and item.terms is not None and item.terms.deadline is not None
        return errors.TimedOut if cancelled else kind(query, item)

    patches.replace(outcome, "_kind", late)


@code(
    "a stop at the deadline ends whatever was cancelled",
    "a query that was cancelled before, which Athena did not report yet, ends as TimedOut",
    caught_by="ends_with_true_final_state",
    scenario="cancelled before the deadline",
)
def _(patches: Patches) -> None:
    patches.replace(
        outcome, "_ended_by_its_deadline", lambda _query, item: item.stopped_at_deadline is not None
    )


@code(
    "a stop at the deadline is not repeated",
    "one that failed leaves the query running",
    caught_by="query_deadline_is_kept",
    scenario="failing stops",
)
def _(patches: Patches) -> None:
    passed = executor._deadline_passed  # noqa: SLF001 — what the mutant changes

    def once(item: QueryItem, runtime: Any) -> bool:
        return passed(item, runtime) and not item.stopped_at_deadline

    patches.replace(executor, "_deadline_passed", once)


@code(
    "an untrue event suspends the deadline",
    "the executor polls instead",
    caught_by="query_deadline_is_kept",
    scenario="deadlines",
)
def _(patches: Patches) -> None:
    passed = executor._deadline_passed  # noqa: SLF001 — what the mutant changes

    def unless_recorded(item: QueryItem, runtime: Any) -> bool:
        return passed(item, runtime) and not item.recorded_state

    patches.replace(executor, "_deadline_passed", unless_recorded)


@code(
    "a query starts after its deadline",
    "the executor does not compare the time first",
    caught_by="no_start_after_deadline",
    scenario="full",
)
def _(patches: Patches) -> None:
    submit = starts._submit  # noqa: SLF001 — what the mutant changes

    def submit_anyway(runtime: Any, entry: Entry, request: Any, *arguments: Any) -> str | None:
        return submit(runtime, entry, replace(request, timeout_seconds=None), *arguments)

    patches.replace(starts, "_submit", submit_anyway)


@code(
    "past its deadline a start waits for capacity",
    "the claim of an earlier try is repeated until Athena has some",
    caught_by="execution_deadline_is_kept",
    scenario="full",
)
def _(patches: Patches) -> None:
    find = starts._find_after_deadline  # noqa: SLF001 — what the mutant changes

    def wait_for_capacity(runtime: Any, entry: Entry, request: Any, earlier: Any) -> str:
        if earlier is not None:
            starts.find_announced(runtime, earlier, request)
        return find(runtime, entry, request, earlier)

    patches.replace(starts, "_find_after_deadline", wait_for_capacity)


@code(
    "the deadline of a redrive is that of the first run",
    "RedriveTime does not count",
    caught_by="not_timed_out_early",
    scenario="redrives",
)
def _(patches: Patches) -> None:
    read = Entry.read.__func__  # type: ignore[attr-defined]  # the function below the class method

    def without_redrive(execution_id: str, start: Any) -> Entry:
        entry: Entry = read(Entry, execution_id, {**start, "RedriveTime": ""})
        return entry

    patches.replace(Entry, "read", staticmethod(without_redrive))


@code(
    "the deadline waits for a poll",
    "WaitSeconds is the interval, whatever the deadline",
    caught_by="query_deadline_is_kept",
    scenario="deadlines",
)
def _(patches: Patches) -> None:
    patches.replace(
        checker,
        "_wait_seconds",
        lambda entry, _item, _query, runtime: checker._poll_interval(entry, runtime),  # noqa: SLF001 — as it does
    )


@code(
    "clocks agree",
    "past the deadline of the checker's clock, the executor's gets no further chance",
    caught_by="query_deadline_is_kept",
    scenario="clocks",
)
def _(patches: Patches) -> None:
    def trusting(entry: Entry, item: QueryItem, query: Any, runtime: Any) -> int:
        interval = checker._poll_interval(entry, runtime)  # noqa: SLF001 — as the function does
        if query.ended or item.terms is None or item.terms.deadline is None:
            return interval
        left = math.ceil(item.terms.deadline - runtime.now())
        return min(interval, left) if left > 0 else interval

    patches.replace(checker, "_wait_seconds", trusting)


@code(
    "an ended query hurries for its deadline",
    '"Failed" is entered each second while callbacks fail',
    caught_by="polls_are_few",
    scenario="failing callbacks",
)
def _(patches: Patches) -> None:
    wait = checker._wait_seconds  # noqa: SLF001 — what the mutant changes

    def hurry(entry: Entry, item: QueryItem, query: Any, runtime: Any) -> int:
        return wait(entry, item, replace(query, state="RUNNING"), runtime)

    patches.replace(checker, "_wait_seconds", hurry)
