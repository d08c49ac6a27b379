"""Each known-bad variant is caught by the check that it was made for, and soon."""

import pytest

from tests.simulation.checks import CHECKS, violations
from tests.simulation.choices import SeededChoices
from tests.simulation.mutants import MUTANTS, applied
from tests.simulation.world import run_schedule

MOST_SCHEDULES = 6_000


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    check = MUTANTS[name].caught_by
    schedules = schedules_until_caught(name)
    assert schedules is not None, f"{check} did not catch it in {MOST_SCHEDULES} schedules"
    with capsys.disabled():
        print(f"\n{schedules:>6} schedules until {check} caught: {name}", end="")  # noqa: T201 — the report


def schedules_until_caught(name: str) -> int | None:
    with applied(name) as variant:
        for seed in range(1, MOST_SCHEDULES + 1):
            found = violations(run_schedule(SeededChoices(seed), variant))
            if any(violation.check == MUTANTS[name].caught_by for violation in found):
                return seed
    return None


def test_mutants_expect_checks_that_exist() -> None:
    assert {mutant.caught_by for mutant in MUTANTS.values()} <= {check.__name__ for check in CHECKS}
