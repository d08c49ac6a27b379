"""Random schedules of batches: every query is accounted for once, under crashes, throttles and aborts."""

import pytest

from tests.simulation.batch_checks import CHECKS, violations
from tests.simulation.batch_mutants import MUTANTS, applied
from tests.simulation.batches import run_batches
from tests.simulation.choices import SeededChoices

SCHEDULES = 100
MOST_UNTIL_CAUGHT = 200


def test_every_promise_of_a_batch_holds_under_random_schedules() -> None:
    ends = set()
    for seed in range(1, SCHEDULES + 1):
        world = run_batches(SeededChoices(seed))
        found = violations(world)
        assert not found, f"{found[0]}: python -m tests.simulation batches --runs 1 --seed {seed}"
        ends |= {(run.machine.status, run.machine.error) for run in world.runs}
    # A run in which batches end in one way only would show nothing.
    assert ends >= {
        ("SUCCEEDED", None),
        ("ABORTED", None),
        ("TIMED_OUT", None),
        ("FAILED", "States.ExceedToleratedFailureThreshold"),
    }


@pytest.mark.parametrize("name", MUTANTS)
def test_a_known_defect_is_caught(name: str) -> None:
    caught_by = MUTANTS[name].caught_by
    with applied(name):
        assert any(
            caught_by in {check for check, _ in violations(run_batches(SeededChoices(seed)))}
            for seed in range(1, MOST_UNTIL_CAUGHT + 1)
        )


def test_every_check_can_fail() -> None:
    assert {mutant.caught_by for mutant in MUTANTS.values()} == {check.__name__ for check in CHECKS}
