"""Log lines and metrics: what they must hold, and what they must not."""

from typing import Any

import functions.settle as settling
from functions import callbacks, canceller, executor, outcome
from functions.errors import AthenaQueryError, ServiceFault
from functions.observability import logger
from functions.task_table import QueryItem, TaskTable
from tests.simulation.mutants.registry import Patches, code


@code("an outcome is not reported", "neither metric nor log line", caught_by="reports_each_outcome")
def _(patches: Patches) -> None:
    patches.replace(settling, "report", lambda *_arguments: None)


@code("outcomes are not counted", "the dashboard stays empty", caught_by="reports_each_outcome")
def _(patches: Patches) -> None:
    for module in (settling, executor):
        patches.replace(module, "measure_outcome", lambda _error: None)


@code("an outcome is counted twice", "the dashboard shows twice as many", caught_by="reports_each_outcome")
def _(patches: Patches) -> None:
    report = settling.report

    def twice(*arguments: Any) -> None:
        report(*arguments)
        report(*arguments)

    patches.replace(settling, "report", twice)


@code(
    "an end as Throttled is not counted",
    "no alarm fires while Athena has no capacity",
    caught_by="reports_the_final_error",
    scenario="full",
)
def _(patches: Patches) -> None:
    patches.replace(canceller, "_count_failure", lambda *_arguments: None)


@code("the token is logged", "when it is stored", caught_by="logs_keep_secrets")
def _(patches: Patches) -> None:
    store = TaskTable.store_token

    def log(table: TaskTable, query_id: str, task_token: str, terms: Any, now: float) -> QueryItem:
        logger.info("storing", token=task_token)
        return store(table, query_id, task_token, terms, now)

    patches.replace(TaskTable, "store_token", log)


@code("the reason is logged", "it quotes the SQL", caught_by="logs_keep_secrets")
def _(patches: Patches) -> None:
    make = outcome.error_of

    def log(query: Any, *arguments: Any) -> AthenaQueryError:
        logger.info("failed", reason=query.reason)
        return make(query, *arguments)

    patches.replace(settling, "error_of", log)


@code(
    "a fault keeps its text",
    "that of InvalidToken quotes the token",
    caught_by="logs_keep_secrets",
)
def _(patches: Patches) -> None:
    def fail(_stepfunctions: Any, task_token: str, _error: Any) -> bool:
        raise ServiceFault(f"Invalid Token: {task_token}")

    patches.replace(callbacks, "fail", fail)
