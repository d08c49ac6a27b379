"""From a query that has ended to what its caller is told: the output, or one of the typed errors."""

from datetime import UTC, datetime
from typing import Any

from functions import errors
from functions.queries import Query
from functions.settings import Settings
from functions.task_table import Terms

# Athena bills megabytes, rounded up, ten at least, and counts in powers of ten: its own limit of 10 MB per
# query is 10,000,000 bytes (WorkGroupConfiguration.BytesScannedCutoffPerQuery, Athena API reference).
_MEGABYTE = 10**6
_MEGABYTES_PER_TERABYTE = 10**6
_LEAST_MEGABYTES = 10


def output_of(query: Query, *, settled_by: str, attempts: int, settings: Settings) -> dict[str, Any]:
    """A succeeded query's output, as output.schema.json describes it, but for the preview."""
    return {
        "QueryId": query.query_id,
        "State": query.state,
        "StatementType": query.statement_type,
        "OutputLocation": query.output_location,
        "DataManifestLocation": query.manifest_location,
        "SubmissionDateTime": _iso(query.submitted),
        "CompletionDateTime": _iso(query.completed),
        "Statistics": {
            "DataScannedInBytes": query.scanned_bytes,
            "QueryQueueTimeInMillis": query.queue_ms,
            "QueryPlanningTimeInMillis": query.planning_ms,
            "EngineExecutionTimeInMillis": query.engine_ms,
            "TotalExecutionTimeInMillis": query.total_ms,
            "ReusedPreviousResult": query.reused_result,
        },
        "EstimatedCostUsd": estimated_cost_usd(query, settings.usd_per_terabyte),
        "SettledBy": settled_by,
        "Attempts": attempts,
    }


def error_of(
    query: Query, terms: Terms, *, deadline_passed: bool, settings: Settings
) -> errors.AthenaQueryError:
    """The typed error of a query that ended FAILED or CANCELLED, or RunAgain where it may be repeated."""
    kind: type[errors.AthenaQueryError]
    if query.state == "CANCELLED":
        kind = errors.TimedOut if deadline_passed else errors.Cancelled
    elif not query.transient:
        kind = errors.Failed
    elif terms.attempt < terms.max_attempts and (query.reads_only or terms.idempotent):
        return errors.RunAgain(
            query.reason, next_attempt=terms.attempt + 1, redrive_count=terms.redrive_count
        )
    else:
        kind = errors.TransientFailure
    reason = query.reason or f"Athena ended the query as {query.state} and gave no reason."
    return kind(
        "The query was stopped at its deadline (TimeoutSeconds)." if kind is errors.TimedOut else reason,
        query_id=query.query_id,
        state=query.state,
        category=query.error_category,
        error_type=query.error_type,
        attempts=terms.attempt,
        console_url=console_url(settings.region, query.query_id),
    )


def estimated_cost_usd(query: Query, usd_per_terabyte: float) -> float:
    """What Athena charges for the query by its price list, discounts and capacity reservations aside.

    Failed queries, reused results and DDL are free; so are utility statements, which scan nothing.
    A cancelled query is charged for what it scanned (Athena pricing page).
    """
    charged = query.state != "FAILED" and not query.reused_result
    if not charged or (query.statement_type != "DML" and query.scanned_bytes == 0):
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


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds") if moment else None
