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
from tests.permissions.statements import ROWS, SETTINGS, NotEnforced, Row, role_name
from tools import records

RECORD = "permissions"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.permissions", description=__doc__)
    parser.add_argument("--only", metavar="ROLE[/STATEMENT]", default="", help="try these statements only")
    parser.add_argument(
        "--record",
        action="store_true",
        help="keep the rows for docs/permissions.md (then run python -m tools.generate_docs)",
    )
    options = parser.parse_args(arguments)
    local_stack.HOME.mkdir(exist_ok=True)
    options_of_emulator = ("--async-retry-seconds", "0.01")
    with local_stack.temporary(
        settings=SETTINGS, emulator_options=options_of_emulator, report=print
    ) as stack:
        trial = Trial(stack=stack)
        prepare(trial)
        if broken := baseline(trial, options.only):
            print("\n".join(broken))
            return 1
        rows = list(try_rows(trial, options.only))
    unneeded = [row for row in rows if row["without"] is None and "reason" not in row]
    for row in unneeded:
        print(f"{row['role']}/{row['statement']}: nothing fails without it")
    tried = sum("reason" not in row for row in rows)
    print(f"{tried} statements tried, {len(rows) - tried} not enforced locally, {len(unneeded)} not needed")
    if options.record and not unneeded:
        record(rows)
    return 1 if unneeded else 0


def record(rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows into the table; those that were not tried stay as they are."""
    known = {(row["role"], row["statement"]): row for row in (*records.read(RECORD), *rows)}
    places = [(role, name) for role, statements in ROWS.items() for name in statements]
    records.write(RECORD, [known[place] for place in places if place in known])


def prepare(trial: Trial) -> None:
    """Create a table of the setting writeTables, in a database that the stack may not write; set the task
    table's key.
    """
    trial.administer("CREATE DATABASE shared")
    trial.administer(
        "CREATE EXTERNAL TABLE shared.written (n int) STORED AS PARQUET "
        "LOCATION 's3://sample-data/shared/written/'"
    )
    # MiniStack's CloudFormation leaves out the table's key.
    trial.client("dynamodb").update_table(
        TableName=trial.stack.outputs["TaskTableName"],
        SSESpecification={
            "Enabled": True,
            "SSEType": "KMS",
            "KMSMasterKeyId": SETTINGS["tableKeyArn"],
        },
    )


def chosen(only: str) -> Iterator[tuple[str, str, Row]]:
    """Role, statement and row of those that `only` selects."""
    for role, rows in ROWS.items():
        for name, row in rows.items():
            if f"{role}/{name}".startswith(only):
                yield role, name, row


def baseline(trial: Trial, only: str) -> list[str]:
    """What fails with every statement in place."""
    operations = {id(row): row for _, _, row in chosen(only) if isinstance(row, Operation)}
    failures = ((one.title, attempt(trial, one)) for one in operations.values())
    return [
        f"{title} fails with every statement in place: {failure}" for title, failure in failures if failure
    ]


def attempt(trial: Trial, operation: Operation) -> str | None:
    """Run an operation without the dead letters of an earlier one."""
    trial.settle()
    trial.dead_letter()
    return operation.run(trial)


def try_rows(trial: Trial, only: str) -> Iterator[Mapping[str, Any]]:
    """Each row of the table, printed as it is found."""
    iam = trial.client("iam")
    for role, name, needed in chosen(only):
        statements = deployed_statements(iam, role_name(role))
        actions = names_and_actions(statements)[name]
        row: dict[str, Any] = {"role": role, "statement": name, "actions": actions, "without": None}
        match needed:
            case NotEnforced(reason, source):
                row |= {"reason": reason, "source": source}
            case Operation():
                with without(iam, role_name(role), name):
                    row |= {"operation": needed.title, "without": attempt(trial, needed)}
                if deployed_statements(iam, role_name(role)) != statements:
                    raise RuntimeError(f"the policies of {role} were not restored")
        print(f"{role}/{name}: {row['without'] or row.get('reason')}", flush=True)
        yield row


if __name__ == "__main__":
    sys.exit(main())
