"""Many random schedules, and what they came to."""

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from tests.simulation.checks import violations
from tests.simulation.choices import SeededChoices
from tests.simulation.world import run_schedule

_CHUNK = 200


@dataclass
class Tally:
    """What a number of schedules came to. `failed` holds `(seed, first violation)`."""

    schedules: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: "Tally") -> None:
        self.schedules += other.schedules
        self.faults += other.faults
        self.ends += other.ends
        self.failed += other.failed


def run_seeds(seeds: Iterable[int]) -> Tally:
    tally = Tally()
    for seed in seeds:
        history = run_schedule(SeededChoices(seed))
        tally.schedules += 1
        tally.faults += history.faults.injected
        for execution in history.machine.executions:
            for run in execution.runs:
                if run.end:
                    tally.ends[run.end.error or run.end.status] += 1
                tally.faults["redrive"] += run.redrive_count > 0
        found = violations(history)
        if found:
            tally.failed.append((seed, str(found[0])))
    return tally


def collect_seldom() -> None:
    """A schedule leaves few cycles, and collecting them often takes time."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def soak(first_seed: int, runs: int, jobs: int, progress: Callable[[Tally], None]) -> Tally:
    """Run `runs` schedules, in `jobs` processes. `progress` receives the tally as it grows."""
    began = time.monotonic()
    seeds = range(first_seed, first_seed + runs)
    chunks = [seeds[at : at + _CHUNK] for at in range(0, runs, _CHUNK)]
    total = Tally()
    with ProcessPoolExecutor(jobs, initializer=collect_seldom) as pool:
        for tally in pool.map(run_seeds, chunks):
            total.add(tally)
            total.seconds = time.monotonic() - began
            progress(total)
    return total
