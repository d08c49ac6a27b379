"""What an operator is told about an execution that waits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops.explain import Facts, conclude

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def facts(**changes: Any) -> Facts:
    known: dict[str, Any] = {
        "status": "RUNNING",
        "error": None,
        "state": "Start query",
        "since": NOW - timedelta(seconds=60),
        "patience_seconds": 300,
        "poll_seconds": 30,
        "query_id": "q",
        "athena_state": "RUNNING",
        "token_stored": True,
    }
    return Facts(**{**known, **changes})


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (facts(), "Athena says RUNNING: it waits for the query, as it should"),
        (
            facts(athena_state="SUCCEEDED"),
            "its event has not come; the state machine looks for itself by 03:08:05",
        ),
        (facts(athena_state="FAILED", state="Wait"), "looks for itself by 03:03:35"),
        (
            facts(athena_state="SUCCEEDED", recorded_state="SUCCEEDED"),
            "the event was noted, but the task was not told",
        ),
        (facts(query_id=None), "No query is registered yet"),
        (facts(state="Back off"), "runs again after the wait"),
        (facts(status="FAILED", error="AthenaQuery.Failed"), "has ended as FAILED with AthenaQuery.Failed"),
    ],
)
def test_the_conclusion_follows_the_facts(known: Facts, words: str) -> None:
    assert words in conclude(known, NOW)
