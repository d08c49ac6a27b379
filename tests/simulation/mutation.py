"""How many schedules it takes until each mutant is caught."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from types import MappingProxyType

from tests.simulation.checks import violations
from tests.simulation.choices import SeededChoices
from tests.simulation.mutants import MUTANTS, applied
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.world import run_schedule
from tools import records

MOST_SCHEDULES = 2_000


def schedules_until_caught(
    name: str, most: int = MOST_SCHEDULES, known: Mapping[str, int] = MappingProxyType({})
) -> int | None:
    """Run schedules of the mutant's scenario until its check catches it; None if `most` do not.

    `known` are the schedules that caught the mutants last: they are tried first.
    """
    mutant = MUTANTS[name]
    with applied(name) as variant:
        seeds: list[int] = [*([known[name]] if name in known else []), *range(1, most + 1)]
        for seed in seeds:
            history = run_schedule(SeededChoices(seed), variant, SCENARIOS[mutant.scenario])
            if any(violation.check == mutant.caught_by for violation in violations(history)):
                return seed
    return None


def count_all(
    most: int = MOST_SCHEDULES, jobs: int = 2, known: Mapping[str, int] = MappingProxyType({})
) -> Iterator[tuple[str, int | None]]:
    """`(mutant, schedules)` for each mutant, in their order."""
    count = partial(schedules_until_caught, most=most, known=dict(known))
    with ProcessPoolExecutor(jobs) as pool:
        yield from zip(MUTANTS, pool.map(count, MUTANTS), strict=True)


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
