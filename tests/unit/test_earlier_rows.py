"""Items of the task table as the previous release writes them, read by this one (docs/upgrading.md)."""

import json
from pathlib import Path
from typing import Any

from functions.task_table import ExecutionItem, QueryItem, StartedQuery, Terms

QUERY_ID = "0c9231a0-de75-4736-bdfa-dd3f3de85970"
EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:AthenaQueries:nightly"


def row(name: str) -> Any:
    return json.loads((Path(__file__).parent / "rows" / f"{name}.json").read_text())


def test_a_query_that_a_task_waits_for() -> None:
    item = QueryItem.read(QUERY_ID, row("query"))

    assert (item.task_token, item.recorded_state) == ("TASK-TOKEN", "SUCCEEDED")
    assert (item.stopped_at_deadline, item.stop_requested) == (None, False)
    assert item.terms is not None
    assert item.terms.execution_id == EXECUTION
    assert (item.terms.redrive_count, item.terms.attempt, item.terms.max_attempts) == (0, 1, 2)
    assert (item.terms.idempotent, item.terms.preview_rows) == (False, 10)
    assert item.terms.deadline == 1796083200.25
    assert item.terms.labels == {}


def test_terms_are_written_with_every_attribute_that_the_previous_release_reads() -> None:
    """A rollback: the previous release reads what this one writes."""
    required = set(row("query")) - {"Id", "ExpiresAt", "TaskToken", "State"}
    terms = Terms.read(row("query"))

    assert terms is not None
    assert required <= set(terms.attributes())
    assert {name: terms.attributes()[name] for name in required} == {
        name: row("query")[name] for name in required
    }


def test_a_query_whose_event_came_first() -> None:
    item = QueryItem.read(QUERY_ID, row("query_event_first"))

    assert (item.task_token, item.terms, item.recorded_state) == (None, None, "FAILED")


def test_an_execution_with_a_started_and_an_announced_query() -> None:
    item = ExecutionItem.read(row("execution"))

    assert item.started == (
        StartedQuery(entry_id="a" * 64, redrive_count=0, entered=1796079600.125, query_id=QUERY_ID),
    )
    (announced,) = item.announced
    assert (announced.entry_id, announced.redrive_count, announced.entered) == ("b" * 64, 1, 1796083200.5)
    assert announced.statement == {"Database": {"S": "sales"}, "Catalog": {"S": "AwsDataCatalog"}}
    assert (item.ended, item.cleaned_up) == (0, 0)


def test_an_announcement_without_a_statement() -> None:
    """Announcements of still earlier releases have none."""
    item = {name: value for name, value in row("execution").items() if not name.startswith("Statement/")}

    (announced,) = ExecutionItem.read(item).announced

    assert announced.statement == {}
