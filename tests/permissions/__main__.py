"""Remove each statement of each role on the local stack, one at a time, and report what fails without it.

Exit code 1 means that something fails with every statement in place, or that nothing fails without one.
"""

# ruff: noqa: T201 - a command line prints

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from local import stack as local_stack
from tests.permissions.operations import Operation, Trial
from tests.permissions.policies import deployed_statements, names_and_actions, without
from tests.permissions.statements import ROWS, SETTINGS, NotEnforced, role_name
from tools import records

RECORD = "permissions"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.permissions", description=__doc__)
    parser.add_argument("--only", metavar="ROLE[/STATEMENT]", default="", help="try these statements only")
    parser.add_argument(
        "--record",
        action="store_true",
        help="keep the table for docs/permissions.md (then run python -m tools.generate_docs)",
    )
    options = parser.parse_args(arguments)
    local_stack.HOME.mkdir(exist_ok=True)
    options_of_emulator = ("--async-retry-seconds", "0.01")
    with local_stack.temporary(
        settings=SETTINGS, emulator_options=options_of_emulator, report=print
    ) as stack:
        trial = Trial(stack=stack)
        prepare(trial)
        if broken := baseline(trial):
            print("\n".join(broken))
            return 1
        rows = list(try_rows(trial, options.only))
    unneeded = [row for row in rows if row["without"] is None and "reason" not in row]
    for row in unneeded:
        print(f"{row['role']}/{row['statement']}: nothing fails without it")
    tried = sum("reason" not in row for row in rows)
    print(f"{tried} statements tried, {len(rows) - tried} not enforced locally, {len(unneeded)} not needed")
    if options.record and not unneeded:
        records.write(RECORD, rows)
    return 1 if unneeded else 0


def prepare(trial: Trial) -> None:
    """Create a table of the setting writeTables, in a database that the stack may not write."""
    trial.administer("CREATE DATABASE shared")
    trial.administer(
        "CREATE EXTERNAL TABLE shared.written (n int) STORED AS PARQUET "
        "LOCATION 's3://sample-data/shared/written/'"
    )


def baseline(trial: Trial) -> list[str]:
    """What fails with every statement in place."""
    operations = {
        id(row): row for rows in ROWS.values() for row in rows.values() if isinstance(row, Operation)
    }
    failures = ((one.title, one.run(trial)) for one in operations.values())
    return [
        f"{title} fails with every statement in place: {failure}" for title, failure in failures if failure
    ]


def try_rows(trial: Trial, only: str) -> Iterator[Mapping[str, Any]]:
    """Each row of the table, printed as it is found."""
    iam = trial.client("iam")
    for role, rows in ROWS.items():
        statements = deployed_statements(iam, role_name(role))
        actions = names_and_actions(statements)
        for name, needed in rows.items():
            if not f"{role}/{name}".startswith(only):
                continue
            row: dict[str, Any] = {"role": role, "statement": name, "actions": actions[name], "without": None}
            match needed:
                case NotEnforced(reason, source):
                    row |= {"reason": reason, "source": source}
                case Operation(title=title, run=run):
                    with without(iam, role_name(role), name):
                        row |= {"operation": title, "without": run(trial)}
                    left = deployed_statements(iam, role_name(role))
                    if left != statements:
                        raise RuntimeError(f"the policies of {role} were not restored")
            print(f"{role}/{name}: {row['without'] or row.get('reason')}", flush=True)
            yield row


if __name__ == "__main__":
    sys.exit(main())
