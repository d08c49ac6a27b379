"""Random schedules through the real code and the real document: every promise holds after each.

A seed that fails prints its timeline; `python -m tests.simulation replay SEED` runs it again.
"""

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulation.checks import violations
from tests.simulation.choices import DrawnChoices, SeededChoices
from tests.simulation.faults import ALL_FAULTS, SERVICES
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.soak import soak
from tests.simulation.world import History, run_schedule

SCHEDULES = 4_000


def test_every_promise_holds_under_random_schedules() -> None:
    total = soak(1, SCHEDULES, os.cpu_count() or 1, lambda _tally: None)
    assert total.schedules == SCHEDULES
    if total.failed:
        seed, _ = total.failed[0]
        raise AssertionError(report(seed))
    # A run without faults, or in which executions end in one way only, would show nothing.
    assert set(total.faults) >= {*ALL_FAULTS, *(f"outage of {service}" for service in SERVICES), "redrive"}
    assert set(total.ends) == {
        *("SUCCEEDED", "ABORTED", "TIMED_OUT", "AthenaQuery.InvalidInput", "AthenaQuery.InvalidRequest"),
        *("AthenaQuery.Throttled", "AthenaQuery.Failed", "AthenaQuery.TransientFailure"),
        *("AthenaQuery.ScanLimitExceeded", "AthenaQuery.Cancelled", "AthenaQuery.TimedOut"),
    }


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_promise_holds_in_each_scenario(name: str) -> None:
    for seed in range(1, 16):
        history = run_schedule(SeededChoices(seed), scenario=SCENARIOS[name])
        assert not violations(history), f"python -m tests.simulation replay {seed} --scenario {name!r}"


def report(seed: int) -> str:
    history = run_schedule(SeededChoices(seed))
    found = "\n".join(f"VIOLATED  {violation}" for violation in violations(history))
    return f"{history.text()}\n\n{found}\n\npython -m tests.simulation replay {seed}"


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(st.data())
def test_every_promise_holds_under_schedules_that_shrink(data: st.DataObject) -> None:
    history = run_schedule(DrawnChoices(data.draw))
    found = violations(history)
    assert not found, f"{history.text()}\n\n" + "\n".join(map(str, found))


def test_a_seed_decides_everything() -> None:
    first, second = (run_schedule(SeededChoices(7)) for _ in range(2))
    assert first.text() == second.text()
    assert first.reports.metrics_by_name() == second.reports.metrics_by_name()
    assert log_lines(first) == log_lines(second)
    assert log_lines(first)


def log_lines(history: History) -> list[Any]:
    """The functions' log lines but for the real time at which each was written."""
    lines = [json.loads(line) for _, line in history.reports.lines]
    return [{name: value for name, value in line.items() if name != "timestamp"} for line in lines]
