"""Maps a query that has ended to what its caller receives: the output, or one of the typed errors."""

from datetime import UTC, datetime
from typing import Any

from functions import errors
from functions.queries import Query
from functions.settings import Settings
from functions.statements import only_reads
from functions.task_table import QueryItem, Terms

# Athena bills megabytes, rounded up, at least ten, and counts in powers of ten: its own limit of 10 MB per
# query is 10,000,000 bytes (WorkGroupConfiguration.BytesScannedCutoffPerQuery, Athena API reference).
_MEGABYTE = 10**6
_MEGABYTES_PER_TERABYTE = 10**6
_LEAST_MEGABYTES = 10

# Athena's reason for a query that it stopped at the workgroup's limit (Athena user guide, troubleshooting of
# workgroups).
_SCAN_LIMIT = "Bytes scanned limit was exceeded"

# How far the clocks of Athena and of the functions' hosts may differ, in seconds.
_CLOCKS_APART = 2.0


def output_of(query: Query, terms: Terms, *, settled_by: str, settings: Settings) -> dict[str, Any]:
    """The output of a query that succeeded, as in output.schema.json, without the preview."""
    return {
        "QueryId": query.query_id,
        "State": query.state,
        "StatementType": query.statement_type,
        "OutputLocation": query.output_location,
        "DataManifestLocation": query.manifest_location,
        "SubmissionDateTime": iso(query.submitted),
        "CompletionDateTime": iso(query.completed),
        "Statistics": {
            "DataScannedInBytes": query.scanned_bytes,
            "QueryQueueTimeInMillis": query.queue_ms,
            "QueryPlanningTimeInMillis": query.planning_ms,
            "EngineExecutionTimeInMillis": query.engine_ms,
            "TotalExecutionTimeInMillis": query.total_ms,
            "ReusedPreviousResult": query.reused_result,
            "DpuCount": query.dpu_count,
        },
        "EstimatedCostUsd": estimated_cost_usd(query, settings.usd_per_terabyte),
        "SettledBy": settled_by,
        "Attempts": terms.attempt,
        "Labels": terms.labels,
    }


def error_of(query: Query, item: QueryItem, terms: Terms, settings: Settings) -> errors.AthenaQueryError:
    """The typed error of a query that ended FAILED or CANCELLED, or RunAgain if it has to run again."""
    if query.state == "CANCELLED" and item.stop_requested:
        # It was stopped for an earlier run of the execution, while a redrive adopted it.
        return errors.RunAgain(query.reason, next_attempt=terms.attempt, redrive_count=terms.redrive_count)
    kind = _kind(query, item)
    if kind is errors.TransientFailure and _may_run_again(query, terms):
        return errors.RunAgain(
            query.reason, next_attempt=terms.attempt + 1, redrive_count=terms.redrive_count
        )
    return kind(
        _reason(kind, query, settings),
        query_id=query.query_id,
        state=query.state,
        category=query.error_category,
        error_type=query.error_type,
        scanned_bytes=query.scanned_bytes,
        cost_usd=estimated_cost_usd(query, settings.usd_per_terabyte),
        attempts=terms.attempt,
        labels=terms.labels,
        console_url=console_url(settings.region, query.query_id),
    )


def _kind(query: Query, item: QueryItem) -> type[errors.AthenaQueryError]:
    if query.state == "CANCELLED":
        if query.reason.startswith(_SCAN_LIMIT):
            return errors.ScanLimitExceeded
        return errors.TimedOut if _ended_by_its_deadline(query, item) else errors.Cancelled
    return errors.TransientFailure if query.transient else errors.Failed


def _ended_by_its_deadline(query: Query, item: QueryItem) -> bool:
    """Whether the stop at the deadline ended it. The executor may have sent one to a query that had been
    cancelled before, which Athena did not report yet.
    """
    stopped = item.stopped_at_deadline
    if stopped is None:
        return False
    return query.completed is None or query.completed.timestamp() >= stopped - _CLOCKS_APART


def _may_run_again(query: Query, terms: Terms) -> bool:
    return terms.attempt < terms.max_attempts and (terms.idempotent or only_reads(query.sql))


def _reason(kind: type[errors.AthenaQueryError], query: Query, settings: Settings) -> str:
    if kind is errors.TimedOut:
        return "The query was stopped at its deadline (TimeoutSeconds)."
    if kind is errors.ScanLimitExceeded:
        cost = estimated_cost_usd(query, settings.usd_per_terabyte)
        return (
            f"{query.reason}. It scanned {query.scanned_bytes:,} bytes, for about {cost} USD; "
            f"the limit (bytesScannedLimit) is {settings.bytes_scanned_limit:,} bytes."
        )
    return query.reason or f"Athena ended the query as {query.state} and gave no reason."


def estimated_cost_usd(query: Query, usd_per_terabyte: float) -> float:
    """What Athena charges for the query by its price list, discounts aside.

    Failed queries, reused results, DDL and EXPLAIN are free; so are utility statements, which scan nothing. A
    cancelled query is charged for what it scanned (Athena pricing page). A query on reserved capacity, which
    has a DPU count, is not charged by the terabyte.
    """
    if query.state == "FAILED" or query.reused_result or query.dpu_count:
        return 0.0
    free = query.statement_type != "DML" or query.substatement_type == "EXPLAIN"
    if free and query.scanned_bytes == 0:
        return 0.0
    megabytes = max(_LEAST_MEGABYTES, -(-query.scanned_bytes // _MEGABYTE))
    return round(megabytes * usd_per_terabyte / _MEGABYTES_PER_TERABYTE, 8)


def console_url(region: str, query_id: str) -> str:
    """The query's page in the Athena console."""
    domains = {"cn": "amazonaws.cn", "us-gov": "amazonaws-us-gov.com"}
    domain = next(
        (name for start, name in domains.items() if region.startswith(start + "-")), "aws.amazon.com"
    )
    return f"https://{region}.console.{domain}/athena/home?region={region}#/query-editor/history/{query_id}"


def iso(moment: datetime | None) -> str | None:
    """The time in UTC, as in output.schema.json and batch_manifest.schema.json."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds") if moment else None
