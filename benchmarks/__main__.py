"""Command line of the benchmarks: `python -m benchmarks [NAME …]`, all of them by default."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from benchmarks.result import Result, Skipped

# In the order in which they run: the fast ones first.
NAMES = ("package", "work", "cost", "cold", "warm", "local", "batch", "lag", "scale")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 if a goal is missed, 2 for an unknown name. A benchmark that cannot run here is skipped."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *NAMES], help=", ".join(NAMES))
    parser.add_argument(
        "--small", action="store_true", help="a short run that writes no results, as in the tests"
    )
    options = parser.parse_args(arguments)
    missed = False
    for name in options.names or NAMES:
        try:
            result = run(name, small=options.small)
        except Skipped as reason:
            print(f"{name}: skipped: {reason}\n")
            continue
        print(result.text(), end="\n\n")
        if not options.small:
            result.write()
        missed |= not result.held
    return 1 if missed else 0


def run(name: str, *, small: bool) -> Result:
    """Run one benchmark; a small one takes few samples. Raise Skipped."""
    result: Result = importlib.import_module(f"benchmarks.{name}").measure(small=small)
    return result


if __name__ == "__main__":
    sys.exit(main())
