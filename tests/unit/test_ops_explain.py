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
        (ended(polls_by=None), "has not arrived. The state machine will poll Athena."),
        (
            ended(status="SUCCEEDED", start_unconfirmed=True),
            "Not waiting: the execution ended with status SUCCEEDED.",
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


def test_a_query_is_shown_with_its_token_and_its_event() -> None:
    known = ended(recorded_state="SUCCEEDED", query_ended=NOW - timedelta(seconds=5), token_stored=False)

    assert lines(known, NOW)[2:6] == [
        ("query", "q: SUCCEEDED"),
        ("query ended", "2026-01-02 03:04:00 UTC"),
        ("task token", "none stored"),
        ("event", "received: SUCCEEDED"),
    ]
    assert ("event", "none received") in lines(facts(), NOW)
