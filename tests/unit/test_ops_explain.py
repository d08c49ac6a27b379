"""The conclusion that an operator reads about an execution."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops.explain import Facts, conclude, lines

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def facts(**changes: Any) -> Facts:
    known: dict[str, Any] = {
        "status": "RUNNING",
        "state": "Start query",
        "since": NOW - timedelta(seconds=60),
        "polls_by": NOW + timedelta(seconds=240),
        "query_id": "q",
        "query_state": "RUNNING",
        "token_stored": True,
        "running_queries": ("q",),
    }
    return Facts(**{**known, **changes})


def ended(**changes: Any) -> Facts:
    return facts(**{"query_state": "SUCCEEDED", "running_queries": (), **changes})


@pytest.mark.parametrize(
    ("known", "conclusion"),
    [
        (facts(), "Athena reports RUNNING; the wait is expected."),
        (
            ended(),
            (
                "Athena reports SUCCEEDED, but the completion event has not arrived. "
                "The state machine will poll Athena by 03:08:05 UTC."
            ),
        ),
        (
            ended(recorded_state="SUCCEEDED", polls_by=NOW - timedelta(seconds=5)),
            (
                "The event of SUCCEEDED was received, but the callback was not sent. "
                "The state machine was due to poll Athena by 03:04:00 UTC; check the checker's log."
            ),
        ),
        (facts(query_id=None), "No query is registered yet: "),
        (facts(state="Back off"), "it runs again after the back-off"),
        (facts(state="Get query status"), "The state machine is polling Athena now."),
        (
            ended(status="FAILED", error="AthenaQuery.Failed", query_state="FAILED"),
            "Not waiting: the execution ended with status FAILED (AthenaQuery.Failed).",
        ),
        (
            facts(status="ABORTED"),
            "The execution ended with status ABORTED, but a query of it still runs: q.",
        ),
        (
            facts(status="TIMED_OUT", query_id=None, running_queries=(), start_unconfirmed=True),
            "The execution ended with status TIMED_OUT while a query was being started.",
        ),
    ],
)
def test_the_conclusion_follows_from_the_facts(known: Facts, conclusion: str) -> None:
    assert conclusion in conclude(known, NOW)


def test_the_conclusion_is_the_last_line() -> None:
    shown = lines(ended(), NOW)

    assert shown[-1] == ("conclusion", conclude(ended(), NOW))
    assert ("state", "Start query, entered 60 s ago") in shown
