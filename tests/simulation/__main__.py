"""Command line of the simulation: random schedules, one of them again, mutants, and what outages do.

Exit code 1 means that a promise was broken, or a mutant not caught.
"""

# ruff: noqa: T201 — a command line prints

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict

from tests.simulation import batch_checks, batch_mutants, transitions
from tests.simulation.batch_mutants import MUTANTS as BATCH_MUTANTS
from tests.simulation.batches import run_batches
from tests.simulation.checks import violations
from tests.simulation.choices import SeededChoices
from tests.simulation.mutants import MUTANTS, applied
from tests.simulation.mutation import MOST_SCHEDULES, count_all, rows
from tests.simulation.outages import LENGTHS, Size, run_table
from tests.simulation.scenarios import HOUR, MINUTE, SCENARIOS
from tests.simulation.soak import Tally, soak
from tests.simulation.world import run_schedule
from tools import records

_RECORD = "keep the result for the documentation (then run python -m tools.generate_docs)"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("soak", help="run many random schedules and report what was found")
    command.add_argument("--runs", type=int, default=10_000, help="number of schedules (default: 10,000)")
    command.add_argument(
        "--seed", type=int, default=1, help="seed of the first; the others follow it (default: 1)"
    )
    command.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    command.set_defaults(run=_soak)

    command = commands.add_parser("replay", help="run one schedule and print its timeline")
    command.add_argument("seed", type=int, help="seed of the schedule")
    command.add_argument(
        "--mutant",
        choices=sorted(MUTANTS),
        metavar="NAME",
        help="with this mutant (docs/simulation.md lists them), in its scenario",
    )
    command.add_argument(
        "--scenario",
        choices=sorted(SCENARIOS),
        metavar="NAME",
        help=f"of this scenario: {', '.join(sorted(SCENARIOS))} (default: a random one)",
    )
    command.set_defaults(run=_replay)

    command = commands.add_parser("mutants", help="count the schedules until each mutant is caught")
    command.add_argument(
        "--most",
        type=int,
        default=MOST_SCHEDULES,
        help=f"schedules after which a mutant counts as not caught (default: {MOST_SCHEDULES:,})",
    )
    command.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    command.add_argument("--record", action="store_true", help=_RECORD)
    command.set_defaults(run=_mutants)

    command = commands.add_parser(
        "outages", help="simulate outages of each service with running, new and aborted executions"
    )
    command.add_argument(
        "--running", type=int, default=40, help="executions that run when the outage begins (default: 40)"
    )
    command.add_argument(
        "--new", type=int, default=20, help="executions that start in its first minute (default: 20)"
    )
    command.add_argument(
        "--aborted", type=int, default=10, help="executions that are aborted during it (default: 10)"
    )
    command.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    command.add_argument("--record", action="store_true", help=_RECORD)
    command.set_defaults(run=_outages)

    command = commands.add_parser(
        "batches", help="run random schedules of batches, and print the timeline of the first that fails"
    )
    command.add_argument("--runs", type=int, default=1_000, help="number of schedules (default: 1,000)")
    command.add_argument("--seed", type=int, default=1, help="seed of the first (default: 1)")
    command.add_argument(
        "--mutant",
        choices=sorted(BATCH_MUTANTS),
        metavar="NAME",
        help=f"with this mutant: {', '.join(sorted(BATCH_MUTANTS))}",
    )
    command.set_defaults(run=_batches)

    command = commands.add_parser(
        "transitions", help="count the states that queries of different durations enter"
    )
    command.add_argument("--record", action="store_true", help=_RECORD)
    command.set_defaults(run=_transitions)
    return parser


def _replay(options: argparse.Namespace) -> int:
    scenario = MUTANTS[options.mutant].scenario if options.mutant else options.scenario
    with applied(options.mutant) as variant:
        history = run_schedule(SeededChoices(options.seed), variant, SCENARIOS.get(scenario))
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
        for name, number in counts.most_common():
            print(f"{number:>12,}  {name}")
    print(f"\nviolations: {len(total.failed):,}")
    for seed, what in total.failed[:20]:
        print(f"  seed {seed}: {what}\n    python -m tests.simulation replay {seed}")
    return 1 if total.failed else 0


def _progress(tally: Tally) -> None:
    if sys.stderr.isatty():
        print(f"\r{tally.schedules:,} schedules, {len(tally.failed)} violated", end="\r", file=sys.stderr)


def _mutants(options: argparse.Namespace) -> int:
    caught: dict[str, int] = {}
    missed = 0
    for name, schedules in count_all(options.most, options.jobs):
        mutant = MUTANTS[name]
        if schedules is None:
            missed += 1
            print(f"  NOT CAUGHT  {name}: {mutant.caught_by} did not in {options.most:,} schedules")
        else:
            caught[name] = schedules
            print(f"{schedules:>12,}  {name} ({mutant.caught_by})")
    print(f"\n{len(caught)} of {len(MUTANTS)} mutants caught, with {sum(caught.values()):,} schedules")
    if options.record and not missed:
        records.write("mutants", rows(caught))
    return 1 if missed else 0


def _outages(options: argparse.Namespace) -> int:
    size = Size(running=options.running, new=options.new, aborted=options.aborted)
    print("Executions that ended with the true outcome; times after the query, or after the outage if later")
    print(
        f"{'service':<26} {'outage':>7} {'running':>8} {'new':>8} "
        f"{'latest end':>11} {'unattended':>11} {'stuck':>8} {'dead letters':>13}"
    )
    kept, recorded = True, []
    for row in run_table(size, LENGTHS, options.jobs):
        kept &= row.kept
        recorded.append(asdict(row))
        print(
            f"{row.service:<26} {_duration(row.seconds):>7} "
            f"{row.running:>4}/{size.running:<3} {row.new:>4}/{size.new:<3} "
            f"{row.latest_end:>9.0f} s {row.longest_unattended:>9.0f} s "
            f"{'none' if row.stuck is None else f'{row.stuck:.0f} s':>8} {row.dead_letters:>13}"
            + ("" if row.kept else "  BROKEN: " + "; ".join(map(str, row.violations[:3])))
        )
    if options.record and kept:
        records.write("outages", recorded)
    return 0 if kept else 1


def _transitions(options: argparse.Namespace) -> int:
    print(
        f"{'query':>7} {'event':<8} {'states':>7} {'history events':>15} "
        f"{'invocations':>12} {'end after query':>16}"
    )
    kept, recorded = True, []
    for duration in transitions.DURATIONS:
        for event_arrives in (True, False):
            row = transitions.count(duration, event_arrives=event_arrives)
            kept &= row.kept
            recorded.append(asdict(row))
            print(
                f"{_duration(duration):>7} {'arrives' if event_arrives else 'is lost':<8} {row.states:>7,} "
                f"{row.history_events:>15,} {row.invocations:>12,} {row.late:>14.1f} s"
                + ("" if row.kept else "  TOO MANY")
            )
    if options.record and kept:
        records.write("transitions", recorded)
    return 0 if kept else 1


def _batches(options: argparse.Namespace) -> int:
    # The functions log to the standard output.
    logging.disable(logging.CRITICAL)
    with batch_mutants.applied(options.mutant) if options.mutant else nullcontext():
        for seed in range(options.seed, options.seed + options.runs):
            world = run_batches(SeededChoices(seed))
            if found := batch_checks.violations(world):
                print(world.text(), "\n")
                print("\n".join(f"VIOLATED  {check}: {what}" for check, what in found))
                print(f"seed {seed}")
                return 1
    print(f"{options.runs:,} schedules of batches: every promise was kept")
    return 0


def _duration(seconds: float) -> str:
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / HOUR:.0f} h" if seconds >= HOUR else f"{seconds / MINUTE:.0f} min"


if __name__ == "__main__":
    sys.exit(main())
