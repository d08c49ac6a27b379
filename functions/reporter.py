"""Reporter: writes the manifest of a batch from the executions of its queries.

"Report" calls it when every query has ended. If a batch fails, times out or is aborted, Step Functions'
"Execution Status Change" event invokes it, and it first stops the queries that still run. That event may be
lost, and a query may start while the batch ends, so a schedule repeats this until nothing runs.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions import batch_files, queries
from functions.batch_files import FINAL, REDRIVE_COUNT, Files, Missing, Planned
from functions.batch_runtime import BatchRuntime, get_batch_runtime
from functions.errors import ServiceFault
from functions.events import SCHEDULED_EVENT, UNSUCCESSFUL_STATUSES
from functions.executions import list_since, result_of
from functions.observability import lambda_handler, logger
from functions.outcome import estimated_cost_usd, iso
from functions.sweep import WINDOW, clean_up_each
from functions.time_budget import OutOfTime, time_budget

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef, ExecutionListItemTypeDef

# A child execution that is being stopped may still start its query.
_SETTLING = timedelta(minutes=1)

# A reporter that cannot finish saves its rows before its time limit. A call that is throttled takes up to 100
# seconds with botocore's delays.
_SAVING_SECONDS = 120

# States that do not change any more, once nothing of the batch runs.
_ENDED = frozenset({"SUCCEEDED", *UNSUCCESSFUL_STATUSES, "NOT_STARTED"})

# Step Functions' own field for the parent of a nested execution.
_PARENT = "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID"

_STOPPED = {"error": "AthenaBatch.Stopped", "cause": "The batch ended before the query did."}


class _Unfinished(ServiceFault):
    """The time was too short for the whole batch. The next invocation continues."""


class _Redriven(Exception):
    """The batch was redriven."""


@lambda_handler
def handler(event: dict[str, Any]) -> dict[str, Any] | None:
    return run(event, get_batch_runtime())


def run(event: dict[str, Any], runtime: BatchRuntime) -> dict[str, Any] | None:
    """Take a call of "Report", an "Execution Status Change" event, or sweep at a "Scheduled Event"."""
    if "detail-type" not in event:
        return report(event["ExecutionId"], runtime)
    if event["detail-type"] == SCHEDULED_EVENT:
        sweep(runtime)
    else:
        detail = event["detail"]
        clean_up(detail["executionArn"], int(detail.get("redriveCount") or 0), runtime)
    return None


def report(execution_id: str, runtime: BatchRuntime) -> dict[str, Any]:
    """Write the manifest and return the summary. Raise ServiceFault while a query still runs, if the time is
    too short for all queries, and if the plan cannot be read.
    """
    logger.append_keys(execution_id=execution_id)
    redrive_count = _describe(execution_id, runtime).get("redriveCount", 0)
    files = Files.of(execution_id, runtime.settings)
    try:
        plan = batch_files.read_plan(runtime.s3, runtime.settings.batches_bucket, files.plan)
    except Missing:
        raise ServiceFault("GetObject: the batch's plan does not exist, or may not be read") from None
    key = files.rows(redrive_count)
    rows = _collect(plan, key, runtime, lambda planned: _find(planned, redrive_count, runtime), _ENDED)
    if running := sum(row["State"] == "RUNNING" for row in rows):
        # DescribeExecution is eventually consistent (API reference), so the document repeats the call.
        raise ServiceFault(f"DescribeExecution: {running} queries still run")
    _add_usage(rows, runtime)
    _write(files, rows, redrive_count, runtime, final=True)
    return _summary(rows, f"s3://{runtime.settings.batches_bucket}/{files.manifest}")


def clean_up(execution_id: str, redrive_count: int, runtime: BatchRuntime) -> None:
    """Stop what an unsuccessful batch left running, and write its manifest."""
    logger.append_keys(execution_id=execution_id)
    batch = _describe(execution_id, runtime)
    latest = batch.get("redriveCount", 0)
    if latest > redrive_count or batch["status"] == "SUCCEEDED":
        return
    if batch["status"] == "RUNNING":
        # As above. Lambda retries the event in a minute.
        raise ServiceFault("DescribeExecution: the end is not visible yet")
    files = Files.of(execution_id, runtime.settings)
    try:
        plan = batch_files.read_plan(runtime.s3, runtime.settings.batches_bucket, files.plan)
    except Missing:
        # The batch was refused, or ended before it had a plan.
        return
    settled = _stop_map(execution_id, runtime)
    settled &= datetime.fromtimestamp(runtime.now(), UTC) - batch["stopDate"] > _SETTLING

    def stopped(planned: Planned) -> "DescribeExecutionOutputTypeDef | None":
        found = _find(planned, redrive_count, runtime)
        if found and found["status"] == "RUNNING":
            _refuse_redriven(execution_id, redrive_count, runtime)
            runtime.stepfunctions.stop_execution(executionArn=found["executionArn"], **_STOPPED)
            found = _find(planned, redrive_count, runtime)
        return found

    try:
        kept = _ENDED if settled else _ENDED - {"NOT_STARTED"}
        rows = _collect(plan, files.rows(redrive_count), runtime, stopped, kept)
        running = sum(row["State"] == "RUNNING" for row in rows) + _add_usage(rows, runtime)
        _refuse_redriven(execution_id, redrive_count, runtime)
    except _Redriven:
        logger.info("batch was redriven")
    except _Unfinished:
        logger.info("manifest unfinished")
    else:
        _write(files, rows, redrive_count, runtime, final=settled and not running)


def _refuse_redriven(execution_id: str, redrive_count: int, runtime: BatchRuntime) -> None:
    """Raise _Redriven if the batch was redriven meanwhile: what runs, and the manifest, are the redrive's."""
    if _describe(execution_id, runtime).get("redriveCount", 0) > redrive_count:
        raise _Redriven


def sweep(runtime: BatchRuntime) -> None:
    """Clean up after each unsuccessful batch whose manifest is not final."""

    def clean(batch: "ExecutionListItemTypeDef") -> None:
        execution_id, redrive_count = batch["executionArn"], batch.get("redriveCount", 0)
        if not _is_final(execution_id, redrive_count, runtime):
            clean_up(execution_id, redrive_count, runtime)

    clean_up_each(_recent_ends(runtime), clean)


def _recent_ends(runtime: BatchRuntime) -> "Iterator[ExecutionListItemTypeDef]":
    since = datetime.fromtimestamp(runtime.now(), UTC) - WINDOW
    for status in UNSUCCESSFUL_STATUSES:
        yield from list_since(
            runtime.stepfunctions, runtime.settings.batch_state_machine_arn, since, statusFilter=status
        )


def _is_final(execution_id: str, redrive_count: int, runtime: BatchRuntime) -> bool:
    files = Files.of(execution_id, runtime.settings)
    try:
        metadata = batch_files.read_metadata(runtime.s3, runtime.settings.batches_bucket, files.manifest)
    except Missing:
        return False
    return metadata.get(FINAL) == "true" and metadata.get(REDRIVE_COUNT) == str(redrive_count)


def _collect(
    plan: Sequence[Planned],
    key: str,
    runtime: BatchRuntime,
    find: "Callable[[Planned], DescribeExecutionOutputTypeDef | None]",
    kept: frozenset[str],
) -> list[dict[str, Any]]:
    """The row of each query.

    DescribeExecution allows few calls, so the time may be too short for a large batch. Then save the rows
    whose state is in `kept`, for the next invocation, and raise _Unfinished.
    """
    bucket = runtime.settings.batches_bucket
    try:
        saved = map(json.loads, batch_files.read(runtime.s3, bucket, key).splitlines())
        known = {row["Position"]: row for row in saved}
    except Missing:
        known = {}
    rows: list[dict[str, Any]] = []
    try:
        for planned in plan:
            row = known.get(planned.position)
            if row is None:
                time_budget.require(_SAVING_SECONDS)
                row = _row(planned, find(planned))
            rows.append(row)
    except OutOfTime:
        known |= {row["Position"]: row for row in rows if row["State"] in kept}
        batch_files.write_lines(runtime.s3, bucket, key, map(json.dumps, known.values()))
        raise _Unfinished(f"DescribeExecution: {len(known)} of {len(plan)} queries so far") from None
    return rows


def _describe(execution_id: str, runtime: BatchRuntime) -> "DescribeExecutionOutputTypeDef":
    return runtime.stepfunctions.describe_execution(executionArn=execution_id)


def _stop_map(execution_id: str, runtime: BatchRuntime) -> bool:
    """Stop the child executions of the batch's map, which could start further queries.

    Return whether the map had ended before.
    """
    stepfunctions = runtime.stepfunctions
    ended = True
    for page in stepfunctions.get_paginator("list_map_runs").paginate(executionArn=execution_id):
        for map_run in page["mapRuns"]:
            ended &= "stopDate" in map_run
            children = stepfunctions.get_paginator("list_executions").paginate(
                mapRunArn=map_run["mapRunArn"], statusFilter="RUNNING"
            )
            for child in [one for page in children for one in page["executions"]]:
                stepfunctions.stop_execution(executionArn=child["executionArn"], **_STOPPED)
                ended = False
    return ended


def _find(
    planned: Planned, redrive_count: int, runtime: BatchRuntime
) -> "DescribeExecutionOutputTypeDef | None":
    """The query's execution of the batch's latest redrive that started one; None if none did.

    Stop those of earlier redrives.
    """
    if planned.carried is not None:
        return None
    settings = runtime.settings
    base = settings.state_machine_arn.replace(":stateMachine:", ":execution:")
    children = settings.batch_state_machine_arn.replace(":stateMachine:", ":execution:") + "/"
    latest: DescribeExecutionOutputTypeDef | None = None
    for number in range(redrive_count, -1, -1):
        name = f"{planned.execution}-r{number}" if number else planned.execution
        try:
            found = _describe(f"{base}:{name}", runtime)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
                raise
            continue
        # Someone else may have started an execution of this name, with any input.
        document = json.loads(found["input"])
        parent = document.get(_PARENT) if isinstance(document, dict) else None
        if not str(parent).startswith(children):
            continue
        if latest is None:
            latest = found
        elif found["status"] == "RUNNING":
            # The batch was redriven before this was stopped.
            runtime.stepfunctions.stop_execution(executionArn=found["executionArn"], **_STOPPED)
    return latest


def _row(planned: Planned, found: "DescribeExecutionOutputTypeDef | None") -> dict[str, Any]:
    """The query's row, as in statemachine/batch_manifest.schema.json."""
    if planned.carried is not None:
        return {**planned.carried, "Position": planned.position, "CarriedOver": True}
    result = result_of(found or {})
    return {
        "Position": planned.position,
        "Name": planned.name,
        "Batch": planned.batch,
        "ExecutionArn": found["executionArn"] if found else None,
        "QueryId": result.get("QueryId"),
        "State": found["status"] if found else "NOT_STARTED",
        "Error": found.get("error") if found else None,
        "Reason": planned.refused or result.get("Reason"),
        "OutputLocation": result.get("OutputLocation"),
        "DataScannedInBytes": result.get("Statistics", result).get("DataScannedInBytes"),
        "EstimatedCostUsd": result.get("EstimatedCostUsd"),
        "Attempts": result.get("Attempts"),
        "StartDate": iso(found.get("startDate")) if found else None,
        "StopDate": iso(found.get("stopDate")) if found else None,
        "CarriedOver": False,
        "InputSha256": planned.input_sha256,
    }


def _add_usage(rows: Sequence[dict[str, Any]], runtime: BatchRuntime) -> int:
    """Add the query of each execution that ended without reporting one, and what it used.

    Return how many of them have not ended: the canceller stops the query of an ended execution.
    """
    unreported = {
        row["ExecutionArn"]: row
        for row in rows
        if row["State"] in UNSUCCESSFUL_STATUSES and row["Attempts"] is None
    }
    running = 0
    for execution_id, item in runtime.table.find_executions(list(unreported)).items():
        if item.newest_query is None:
            continue
        query = queries.get_query(runtime.athena, item.newest_query.query_id)
        running += not query.ended
        unreported[execution_id] |= {
            "QueryId": query.query_id,
            "DataScannedInBytes": query.scanned_bytes,
            "EstimatedCostUsd": estimated_cost_usd(query, runtime.settings.usd_per_terabyte),
        }
    return running


def _write(
    files: Files, rows: Sequence[Mapping[str, Any]], redrive_count: int, runtime: BatchRuntime, *, final: bool
) -> None:
    batch_files.write_lines(
        runtime.s3,
        runtime.settings.batches_bucket,
        files.manifest,
        (json.dumps(row, ensure_ascii=False) for row in rows),
        {FINAL: str(final).lower(), REDRIVE_COUNT: str(redrive_count)},
    )
    logger.info("manifest written", rows=len(rows), final=final)


def _summary(rows: Sequence[Mapping[str, Any]], manifest: str) -> dict[str, Any]:
    """The batch's output, as in statemachine/batch_output.schema.json."""
    own = [row for row in rows if not row["CarriedOver"]]
    states = Counter(row["State"] for row in rows)
    return {
        "Batch": rows[0]["Batch"] if rows else None,
        "Queries": len(rows),
        "Succeeded": states["SUCCEEDED"],
        "CarriedOver": len(rows) - len(own),
        "NotSucceeded": len(rows) - states["SUCCEEDED"],
        "States": dict(states),
        "Errors": dict(Counter(row["Error"] for row in rows if row["Error"])),
        "DataScannedInBytes": sum(row["DataScannedInBytes"] or 0 for row in own),
        "EstimatedCostUsd": round(sum(row["EstimatedCostUsd"] or 0.0 for row in own), 8),
        "Manifest": manifest,
    }
