"""Each known-bad variant is caught by the check that it was made for, and soon."""

from collections.abc import Mapping

import pytest

from tests.simulation.checks import CHECKS
from tests.simulation.mutants import MUTANTS
from tests.simulation.mutation import MOST_SCHEDULES, count_all
from tests.simulation.scenarios import SCENARIOS
from tools import records


@pytest.fixture(scope="module")
def schedules() -> Mapping[str, int | None]:
    """The schedule that catches each mutant, the recorded one if it still does; None if none does."""
    return dict(count_all(known={row["mutant"]: row["schedules"] for row in records.read("mutants")}))


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name: str, schedules: Mapping[str, int | None]) -> None:
    assert schedules[name] is not None, (
        f"{MUTANTS[name].caught_by} did not catch it in {MOST_SCHEDULES:,} schedules"
    )


def test_mutants_name_checks_and_scenarios_that_exist() -> None:
    assert {mutant.caught_by for mutant in MUTANTS.values()} <= {check.__name__ for check in CHECKS}
    assert {mutant.scenario for mutant in MUTANTS.values()} <= set(SCENARIOS)


def test_every_check_can_fail() -> None:
    never = {check.__name__ for check in CHECKS} - {mutant.caught_by for mutant in MUTANTS.values()}
    assert not never, "write a mutant for each"


def test_the_record_is_of_these_mutants() -> None:
    """docs/simulation.md shows it; `python -m tests.simulation mutants --record` writes it."""
    assert [(row["mutant"], row["about"], row["caught_by"]) for row in records.read("mutants")] == [
        (name, mutant.about, mutant.caught_by) for name, mutant in MUTANTS.items()
    ]
