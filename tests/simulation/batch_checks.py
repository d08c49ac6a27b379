"""What a batch promises, each a function that yields what is wrong in a world that has come to rest."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from functions.batch_files import FINAL, REDRIVE_COUNT, Files, execution_name
from functions.events import UNSUCCESSFUL_STATUSES
from tests.simulation.batches import CONCURRENCY, SETTINGS, SWEEP_SECONDS, BatchRun, Execution, World

Check = Callable[[World], Iterator[str]]


def rows_of(world: World, run: BatchRun) -> list[Any] | None:
    content = world.objects.get(Files.of(run.arn, SETTINGS).manifest)
    return None if content is None else [json.loads(line) for line in content.splitlines()]


def planned(world: World, run: BatchRun) -> bool:
    return Files.of(run.arn, SETTINGS).plan in world.objects


def executions_of(world: World, run: BatchRun) -> dict[int, list[Execution]]:
    """The executions of each query of a run, by its position and in the order of their redrives."""
    found: dict[int, list[Execution]] = {}
    base = SETTINGS.state_machine_arn.replace(":stateMachine:", ":execution:")
    for position in range(1, len(run.document["Queries"]) + 1):
        name = execution_name(run.arn, position)
        names = [name, *(f"{name}-r{number}" for number in range(1, run.machine.redrives + 1))]
        found[position] = [
            world.executions[f"{base}:{one}"] for one in names if f"{base}:{one}" in world.executions
        ]
    return found


def accounts_for_each_query_once(world: World) -> Iterator[str]:
    for run in world.runs:
        if not planned(world, run):
            continue
        rows = rows_of(world, run)
        positions = None if rows is None else [row["Position"] for row in rows]
        if positions != list(range(1, len(run.document["Queries"]) + 1)):
            yield f"the manifest of {run.machine.name} has the rows {positions}"


def rows_are_true(world: World) -> Iterator[str]:
    for run in world.runs:
        known = executions_of(world, run)
        for row in rows_of(world, run) or []:
            if row["CarriedOver"]:
                continue
            real = known[row["Position"]][-1] if known.get(row["Position"]) else None
            expected = (real.arn, real.status, real.error) if real else (None, "NOT_STARTED", None)
            if (row["ExecutionArn"], row["State"], row["Error"]) != expected:
                yield f"{run.machine.name}: {row['State']} {row['ExecutionArn']}, but {expected}"


def nothing_runs_on(world: World) -> Iterator[str]:
    """A few sweeps after the batch's end, or after the last fault, nothing of it runs.

    If the Map Run goes on, each sweep stops as many children as run at once.
    """
    for run in world.runs:
        sweeps = 2 + math.ceil(len(run.items) / CONCURRENCY)
        latest = max(run.machine.ended or 0, run.faults_until) + sweeps * SWEEP_SECONDS + 120
        queries = (one for found in executions_of(world, run).values() for one in found)
        for one in (*run.children, *queries):
            if one.status == "RUNNING" or max(one.ended or 0, one.athena_until or 0) > latest:
                yield f"{one.name} runs after {run.machine.name} has ended"


def a_final_manifest_stays_true(world: World) -> Iterator[str]:
    for run in world.runs:
        if not planned(world, run):
            continue
        metadata = world.metadata.get(Files.of(run.arn, SETTINGS).manifest, {})
        if (metadata.get(FINAL), metadata.get(REDRIVE_COUNT)) != ("true", str(run.machine.redrives)):
            yield f"the manifest of {run.machine.name} is not final: {metadata}"
        if run.final is None:
            continue
        at, _ = run.final
        unsuccessful = run.machine.status in UNSUCCESSFUL_STATUSES
        for one in (one for found in executions_of(world, run).values() for one in found):
            ended = max(one.ended or 0, (one.athena_until or 0) if unsuccessful else 0)
            if max(one.started, ended) > at:
                yield f"{one.name} changed after the manifest of {run.machine.name} was final"


def a_re_run_runs_what_did_not_succeed(world: World) -> Iterator[str]:
    for before, run in zip(world.runs, world.runs[1:], strict=False):
        if not planned(world, run):
            continue
        then, now = before.document["Queries"], run.document["Queries"]
        succeeded = {
            row["Position"]
            for row in rows_of(world, before) or []
            if row["State"] == "SUCCEEDED" and then[row["Position"] - 1] == now[row["Position"] - 1]
        }
        carried = {row["Position"] for row in rows_of(world, run) or [] if row["CarriedOver"]}
        if carried != succeeded:
            yield f"{run.machine.name} carried over {carried}, but {succeeded} had succeeded"
        for position, found in executions_of(world, run).items():
            if found and position in succeeded:
                yield f"{run.machine.name} ran query {position} again"


def the_summary_counts_the_rows(world: World) -> Iterator[str]:
    for run in world.runs:
        if run.machine.status != "SUCCEEDED":
            continue
        rows = rows_of(world, run) or []
        counts: Mapping[str, int] = {
            "Queries": len(rows),
            "Succeeded": sum(row["State"] == "SUCCEEDED" for row in rows),
            "CarriedOver": sum(row["CarriedOver"] for row in rows),
            "NotSucceeded": sum(row["State"] != "SUCCEEDED" for row in rows),
            "DataScannedInBytes": sum(
                row["DataScannedInBytes"] or 0 for row in rows if not row["CarriedOver"]
            ),
        }
        summary = {name: (run.output or {}).get(name) for name in counts}
        if summary != counts:
            yield f"{run.machine.name} returned {summary}, but the manifest has {counts}"


def tolerates_what_the_input_asks(world: World) -> Iterator[str]:
    for run in world.runs:
        if not run.plan or "Refused" in run.plan:
            continue
        count = min(run.document.get("ToleratedFailureCount", run.plan["ToRun"]), run.plan["ToRun"])
        if run.plan["ToleratedFailureCount"] != count:
            yield f"{run.machine.name} tolerates {run.plan['ToleratedFailureCount']} failures, not {count}"


CHECKS: tuple[Check, ...] = (
    accounts_for_each_query_once,
    rows_are_true,
    nothing_runs_on,
    a_final_manifest_stays_true,
    a_re_run_runs_what_did_not_succeed,
    the_summary_counts_the_rows,
    tolerates_what_the_input_asks,
)


def violations(world: World) -> list[tuple[str, str]]:
    """The name of a check, and what it found."""
    return [(check.__name__, what) for check in CHECKS for what in check(world)]
