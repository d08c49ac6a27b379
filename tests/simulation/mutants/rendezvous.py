"""Where event, task token and Athena's answer meet."""

import json
from dataclasses import replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

import functions.settle as settling
from functions import callbacks, checker, executor
from functions.queries import Query
from functions.task_table import QueryItem, TaskTable
from tests.simulation.events import RULES
from tests.simulation.mutants.registry import Patches, code, stack
from tests.simulation.world import Variant


@code(
    "executor ignores a recorded state",
    "the event of a fast query arrives before its token",
    caught_by="ends_in_time",
)
def _(patches: Patches) -> None:
    patches.replace(executor, "settle_after_event", lambda *_arguments: None)


@code(
    "success is sent before the state is read",
    "every event counts as success",
    caught_by="not_before_its_query",
)
def _(patches: Patches) -> None:
    def hasty(runtime: Any, item: QueryItem, by: Any) -> None:
        if item.task_token is not None:
            output = {"QueryId": item.query_id, "State": "SUCCEEDED"}
            callbacks.succeed(runtime.stepfunctions, item.task_token, json.dumps(output))
        settling.settle_after_event(runtime, item, by)

    patches.replace(checker, "settle_after_event", hasty)


@code("the event is believed", "Athena is not asked for the query's state", caught_by="not_before_its_query")
def _(patches: Patches) -> None:
    def believe(runtime: Any, item: QueryItem, by: Any) -> None:
        athena = _Believer(runtime.athena, item.recorded_state)
        settling.settle_after_event(replace(runtime, athena=athena), item, by)

    patches.replace(checker, "settle_after_event", believe)


class _Believer:
    """An Athena client that reports the state of the event."""

    def __init__(self, athena: Any, state: str | None) -> None:
        self._athena, self._state = athena, state

    def get_query_execution(self, **arguments: Any) -> Any:
        answer = self._athena.get_query_execution(**arguments)
        answer["QueryExecution"]["Status"]["State"] = self._state
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._athena, name)


@code(
    "Athena is asked only once after an event",
    "GetQueryExecution may report the end a moment later",
    caught_by="ends_in_time",
)
def _(patches: Patches) -> None:
    for module in (checker, executor):
        patches.replace(module, "settle_after_event", settling.settle)


@code("the old token is kept", "the event settles a task that no longer waits", caught_by="ends_in_time")
def _(patches: Patches) -> None:
    store = TaskTable.store_token

    def keep(table: TaskTable, query_id: str, task_token: str, terms: Any, now: float) -> QueryItem:
        return store(table, query_id, table.find_query(query_id).task_token or task_token, terms, now)

    patches.replace(TaskTable, "store_token", keep)


@code(
    "a newer token is removed",
    "the callback of the older one removes it, whichever it is",
    caught_by="removes_only_spent_tokens",
    scenario="windows",
)
def _(patches: Patches) -> None:
    remove = TaskTable.remove_token

    def remove_any(table: TaskTable, query_id: str, task_token: str) -> None:
        remove(table, query_id, table.find_query(query_id).task_token or task_token)

    patches.replace(TaskTable, "remove_token", remove_any)


@code(
    "no token is removed", "a credential stays where it is not needed", caught_by="leaves_the_table_in_order"
)
def _(patches: Patches) -> None:
    patches.replace(TaskTable, "remove_token", lambda *_arguments: None)


@code("a spent token is an error", "a second event fails", caught_by="no_late_token_is_an_error")
def _(patches: Patches) -> None:
    patches.replace(callbacks, "_LATE", frozenset())


@code(
    "a fault counts as a spent token",
    "a callback that failed is not repeated",
    caught_by="no_callback_fault_is_swallowed",
)
def _(patches: Patches) -> None:
    deliver = callbacks._delivered  # noqa: SLF001 — the function that the mutant changes

    def swallow(send: Any, **arguments: str) -> bool:
        try:
            return deliver(send, **arguments)
        except (BotoCoreError, ClientError):
            return False

    patches.replace(callbacks, "_delivered", swallow)


@code("an unknown query is an error", "an early event fails", caught_by="no_unexplained_failure")
def _(patches: Patches) -> None:
    def strict(runtime: Any, item: QueryItem, by: Any) -> None:
        if item.terms is None:
            raise KeyError(item.query_id)
        settling.settle_after_event(runtime, item, by)

    patches.replace(checker, "settle_after_event", strict)


@code(
    "Wait polls Athena",
    "the executor asks again what the checker has just asked",
    caught_by="a_poll_asks_athena_once",
)
def _(patches: Patches) -> None:
    run = executor.run

    def eager(event: Any, runtime: Any) -> None:
        run({**event, "StateName": "Failed"} if event["StateName"] == "Wait" else event, runtime)

    patches.replace(executor, "run", eager)


@code(
    "a poll that found the query running waits for its event",
    "it takes another run's terms for its own",
    caught_by="reports_the_truth",
    scenario="redrives",
)
def _(patches: Patches) -> None:
    find = TaskTable.find_query

    def careless(table: TaskTable, query_id: str) -> QueryItem:
        item = find(table, query_id)
        return replace(item, terms=replace(item.terms, attempt=2)) if item.terms else item

    patches.replace(TaskTable, "find_query", careless)


@code(
    "a preview fails a query",
    "its result cannot be read",
    caught_by="no_preview_fault_is_fatal",
    scenario="previews",
)
def _(patches: Patches) -> None:
    success = settling.success

    def strict(runtime: Any, query: Query, terms: Any, by: Any) -> Any:
        output = success(runtime, query, terms, by)
        if "Preview" in output and output["Preview"] is None:
            raise ClientError({"Error": {"Code": "Unreadable"}}, "GetQueryResults")
        return output

    patches.replace(settling, "success", strict)


stack(
    "CANCELLED is not in the rule",
    "no event reports a cancelled query",
    Variant(
        rules=tuple(
            replace(
                rule,
                pattern={
                    **rule.pattern,
                    "detail": {**rule.pattern["detail"], "currentState": ["SUCCEEDED", "FAILED"]},
                },
            )
            if rule.function == "checker"
            else rule
            for rule in RULES
        )
    ),
    caught_by="ends_in_time",
)
stack(
    "the rule drops the redrive count",
    "the canceller takes each end for that of the first run",
    Variant(
        rules=tuple(
            replace(rule, fields=tuple(name for name in rule.fields if name != "redriveCount"))
            for rule in RULES
        )
    ),
    caught_by="nothing_left_running",
    scenario="redrives",
)
