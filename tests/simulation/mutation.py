"""How many schedules it takes until each mutant is caught."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.checks import violations
from tests.simulation.choices import SeededChoices
from tests.simulation.mutants import MUTANTS, applied
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.world import run_schedule
from tools import records

MOST_SCHEDULES = 2_000


def schedules_until_caught(name: str, most: int = MOST_SCHEDULES) -> int | None:
    """Run schedules of the mutant's scenario until its check catches it; None if `most` do not."""
    mutant = MUTANTS[name]
    with applied(name) as variant:
        for seed in range(1, most + 1):
            history = run_schedule(SeededChoices(seed), variant, SCENARIOS[mutant.scenario])
            if any(violation.check == mutant.caught_by for violation in violations(history)):
                return seed
    return None


def count_all(most: int = MOST_SCHEDULES, jobs: int = 2) -> Iterator[tuple[str, int | None]]:
    """`(mutant, schedules)` for each mutant, in their order."""
    with ProcessPoolExecutor(jobs) as pool:
        yield from zip(MUTANTS, pool.map(partial(schedules_until_caught, most=most), MUTANTS), strict=True)


def rows(counts: Mapping[str, int]) -> list[records.Row]:
    """The record of the mutants."""
    return [
        {
            "mutant": name,
            "about": MUTANTS[name].about,
            "caught_by": MUTANTS[name].caught_by,
            "scenario": MUTANTS[name].scenario,
            "schedules": schedules,
        }
        for name, schedules in counts.items()
    ]
