"""What the simulated AWS does that the local stack does not: each behaviour occurs in random schedules."""

from collections.abc import Iterator

import pytest

from tests.simulation.athena import STOPPING_SECONDS, Query
from tests.simulation.choices import SeededChoices
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.world import History, run_schedule


@pytest.fixture(scope="module")
def histories() -> list[History]:
    return [
        run_schedule(SeededChoices(seed), scenario=SCENARIOS[name])
        for name in ("mixed", "redrives", "aborts")
        for seed in range(1, 41)
    ]


def queries(histories: list[History]) -> Iterator[Query]:
    for history in histories:
        yield from history.athena.queries.values()


def states(query: Query) -> str:
    return " ".join(transition.state for transition in query.history)


def test_a_running_query_can_return_to_the_queue(histories: list[History]) -> None:
    assert any("RUNNING QUEUED RUNNING" in states(query) for query in queries(histories))


def test_a_failed_query_can_resume(histories: list[History]) -> None:
    assert any("FAILED RUNNING SUCCEEDED" in states(query) for query in queries(histories))


def test_answers_can_lag_behind_events(histories: list[History]) -> None:
    assert any(step.visible > step.time for query in queries(histories) for step in query.history)


def test_a_stopped_query_ends_within_seconds(histories: list[History]) -> None:
    stopped = [query for query in queries(histories) if query.stops and query.ended]

    assert len(stopped) > 10
    for query in stopped:
        assert query.ended_at <= query.stops[0][0] + STOPPING_SECONDS
