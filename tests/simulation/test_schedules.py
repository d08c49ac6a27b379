"""Random schedules through the real code and the real document: every promise holds after each.

A seed that fails prints its timeline; `python -m tests.simulation replay SEED` runs it again.
"""

import os
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulation.checks import violations
from tests.simulation.choices import DrawnChoices, SeededChoices
from tests.simulation.faults import CALL_FAULTS, EVENT_FAULTS, INVOKE_FAULTS
from tests.simulation.soak import soak
from tests.simulation.world import run_schedule

SCHEDULES = 4_000


def test_every_promise_holds_under_random_schedules() -> None:
    total = soak(1, SCHEDULES, os.cpu_count() or 1, lambda _tally: None)
    assert total.schedules == SCHEDULES
    if total.failed:
        seed, _ = total.failed[0]
        raise AssertionError(report(seed))
    # A run without faults, or in which executions end in one way only, would show nothing.
    assert set(total.faults) >= {*CALL_FAULTS, *INVOKE_FAULTS, *EVENT_FAULTS, "redrive"}
    assert set(total.ends) >= {
        *("SUCCEEDED", "ABORTED", "TIMED_OUT", "ServiceFault", "AthenaQuery.InvalidInput"),
        *("AthenaQuery.InvalidRequest", "AthenaQuery.Failed", "AthenaQuery.TransientFailure"),
        *("AthenaQuery.Cancelled", "AthenaQuery.TimedOut"),
    }


def report(seed: int) -> str:
    history = run_schedule(SeededChoices(seed))
    found = "\n".join(f"VIOLATED  {violation}" for violation in violations(history))
    return f"{history.text()}\n\n{found}\n\npython -m tests.simulation replay {seed}"


@settings(
    max_examples=200,
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
    assert first.logs == second.logs or _without_times(first.logs) == _without_times(second.logs)


def _without_times(lines: list[str]) -> Counter[int]:
    """Powertools stamps its lines with the real time."""
    return Counter(map(len, lines))
