"""Command line of the simulation: soak it with random schedules, or replay one of them."""

# ruff: noqa: T201 — a command line prints

import argparse
import sys
from collections.abc import Sequence

from tests.simulation.checks import violations
from tests.simulation.choices import SeededChoices
from tests.simulation.mutants import MUTANTS, applied
from tests.simulation.soak import Tally, soak
from tests.simulation.world import run_schedule


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    soaking = commands.add_parser("soak", help="run many schedules and say what was found")
    soaking.add_argument("--runs", type=int, default=10_000, help="how many schedules")
    soaking.add_argument("--seed", type=int, default=1, help="seed of the first; the others follow it")
    soaking.add_argument("--jobs", type=int, default=2, help="processes")
    replaying = commands.add_parser("replay", help="run one schedule and print its timeline")
    replaying.add_argument("seed", type=int)
    replaying.add_argument("--mutant", choices=sorted(MUTANTS), help="with this known-bad variant")
    options = parser.parse_args(arguments)
    return _replay(options.seed, options.mutant) if options.command == "replay" else _soak(options)


def _replay(seed: int, mutant: str | None) -> int:
    with applied(mutant) as variant:
        history = run_schedule(SeededChoices(seed), variant)
    found = violations(history)
    print(history.text())
    print()
    print("\n".join(f"VIOLATED  {violation}" for violation in found) or "every promise was kept")
    return 1 if found else 0


def _soak(options: argparse.Namespace) -> int:
    total = soak(options.seed, options.runs, options.jobs, _progress)
    rate = total.schedules / total.seconds
    print(f"{total.schedules:,} schedules in {total.seconds:,.0f} s: {rate:,.0f} a second")
    for title, counts in (("faults injected", total.faults), ("executions ended as", total.ends)):
        print(f"\n{title}: {sum(counts.values()):,}")
        for name, count in counts.most_common():
            print(f"{count:>12,}  {name}")
    print(f"\nviolations: {len(total.failed):,}")
    for seed, what in total.failed[:20]:
        print(f"  seed {seed}: {what}\n    python -m tests.simulation replay {seed}")
    return 1 if total.failed else 0


def _progress(tally: Tally) -> None:
    if sys.stderr.isatty():
        print(f"\r{tally.schedules:,} schedules, {len(tally.failed)} violated", end="\r", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
