"""Athena: start a query, look at it, stop it, read the first rows of its result."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.contract import Request
from functions.errors import InvalidRequest, Throttled, cut
from functions.events import TERMINAL_STATES
from functions.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_athena import AthenaClient

# Two throttles: the account's number of active queries, and the call rate.
_THROTTLES = frozenset({"TooManyRequestsException", "ThrottlingException"})

# AthenaError.ErrorCategory 1 is a system error (Athena API reference, AthenaError).
_SYSTEM_ERROR = 1

# BatchGetQueryExecution takes 50 ids (Athena API reference).
_BATCH = 50

# A preview's bounds. Together with the rest of the output they stay well under Step Functions' 256 KiB.
PREVIEW_CELL_CHARACTERS = 1_024
PREVIEW_COLUMNS = 200
PREVIEW_BYTES = 128 * 1024
# Ten rows a page: a row may be megabytes wide, and a page is held in memory whole.
_PREVIEW_PAGE_ROWS = 10

# Statements that only read start with one of these, after comments and brackets. EXPLAIN ANALYZE runs
# what it explains, and EXECUTE hides what it runs, so neither counts.
_READS = re.compile(
    r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*(?:SELECT|WITH|VALUES|TABLE|SHOW|DESCRIBE|DESC|EXPLAIN(?!\s+ANALYZE))\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query execution as Athena describes it. Times are UTC; None until they are known."""

    query_id: str
    state: str
    reads_only: bool
    statement_type: str | None = None
    output_location: str | None = None
    manifest_location: str | None = None
    submitted: datetime | None = None
    completed: datetime | None = None
    reason: str = ""
    error_category: int | None = None
    error_type: int | None = None
    transient: bool = False
    scanned_bytes: int = 0
    queue_ms: int = 0
    planning_ms: int = 0
    engine_ms: int = 0
    total_ms: int = 0
    reused_result: bool = False

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL_STATES


@dataclass(frozen=True, kw_only=True)
class Statement:
    """The SQL of a request and the database it runs in, named queries and defaults resolved."""

    query_string: str
    database: str

    @property
    def digest(self) -> str:
        """Tells the statement from others without holding any of it."""
        return digest(self.query_string)


def digest(query_string: str) -> str:
    return hashlib.sha256(query_string.encode()).hexdigest()


def resolve(athena: "AthenaClient", request: Request, settings: Settings) -> Statement:
    """Raise InvalidRequest if there is no such named query, Throttled if Athena is too busy to say."""
    if request.named_query_id is None:
        return Statement(
            query_string=str(request.query_string), database=request.database or settings.default_database
        )
    # IAM lets us read the named queries of our own workgroup only.
    with _refusals("InvalidRequestException", "AccessDeniedException"):
        named = athena.get_named_query(NamedQueryId=request.named_query_id)["NamedQuery"]
    return Statement(query_string=named["QueryString"], database=request.database or named["Database"])


def start(
    athena: "AthenaClient",
    statement: Statement,
    request: Request,
    settings: Settings,
    client_request_token: str,
) -> str:
    """Start the query and return its id; the same token gets the same query back.

    Raise InvalidRequest if Athena refuses the statement, Throttled if it has no room for it.
    """
    optional: dict[str, Any] = {}
    if request.execution_parameters:
        optional["ExecutionParameters"] = list(request.execution_parameters)
    if request.result_reuse_minutes:
        optional["ResultReuseConfiguration"] = {
            "ResultReuseByAgeConfiguration": {
                "Enabled": True,
                "MaxAgeInMinutes": request.result_reuse_minutes,
            }
        }
    with _refusals("InvalidRequestException"):
        return athena.start_query_execution(
            QueryString=statement.query_string,
            QueryExecutionContext={"Database": statement.database, "Catalog": request.catalog},
            WorkGroup=settings.work_group,
            ClientRequestToken=client_request_token,
            **optional,
        )["QueryExecutionId"]


@contextmanager
def _refusals(*invalid: str) -> Iterator[None]:
    """Athena's answers that are the caller's news, as typed errors; others are faults and pass.

    `invalid` are the codes that say that the request itself cannot be served.
    """
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        reason = error.response["Error"].get("Message", code)
        if code in _THROTTLES:
            raise Throttled(f"{code}: {reason}") from None
        if code in invalid:
            raise InvalidRequest(reason) from None
        raise


def get_query(athena: "AthenaClient", query_id: str) -> Query:
    """Read the query's present state: one GetQueryExecution."""
    query = athena.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
    status = query["Status"]
    statistics = query.get("Statistics", {})
    error = status.get("AthenaError", {})
    category = error.get("ErrorCategory")
    return Query(
        query_id=query_id,
        state=status["State"],
        reads_only=_READS.match(query.get("Query", "")) is not None,
        statement_type=query.get("StatementType"),
        output_location=query.get("ResultConfiguration", {}).get("OutputLocation") or None,
        manifest_location=statistics.get("DataManifestLocation") or None,
        submitted=status.get("SubmissionDateTime"),
        completed=status.get("CompletionDateTime"),
        reason=status.get("StateChangeReason") or error.get("ErrorMessage") or "",
        error_category=category,
        error_type=error.get("ErrorType"),
        transient=bool(error.get("Retryable")) or category == _SYSTEM_ERROR,
        scanned_bytes=statistics.get("DataScannedInBytes", 0),
        queue_ms=statistics.get("QueryQueueTimeInMillis", 0),
        planning_ms=statistics.get("QueryPlanningTimeInMillis", 0),
        engine_ms=statistics.get("EngineExecutionTimeInMillis", 0),
        total_ms=statistics.get("TotalExecutionTimeInMillis", 0),
        reused_result=statistics.get("ResultReuseInformation", {}).get("ReusedPreviousResult", False),
    )


def running(
    athena: "AthenaClient", work_group: str, *, since: datetime, until: datetime
) -> Iterator[tuple[str, str]]:
    """`(query id, digest of its SQL)` of each query submitted in that time that has not ended."""
    pages = athena.get_paginator("list_query_executions").paginate(
        WorkGroup=work_group, PaginationConfig={"PageSize": _BATCH}
    )
    for page in pages:
        ids = page["QueryExecutionIds"]
        if not ids:
            return
        batch = athena.batch_get_query_execution(QueryExecutionIds=ids)["QueryExecutions"]
        recent = [query for query in batch if query["Status"]["SubmissionDateTime"] >= since]
        for query in recent:
            if (
                query["Status"]["SubmissionDateTime"] <= until
                and query["Status"]["State"] not in TERMINAL_STATES
            ):
                yield query["QueryExecutionId"], digest(query["Query"])
        # Athena lists the newest first.
        if not recent:
            return


def stop(athena: "AthenaClient", query_id: str) -> None:
    """Ask Athena to stop the query, which a little later ends as CANCELLED. An ended one stays as it is."""
    athena.stop_query_execution(QueryExecutionId=query_id)


def preview(athena: "AthenaClient", query: Query, rows: int) -> dict[str, Any]:
    """The first `rows` rows as output.schema.json describes them, within the bounds above."""
    columns: list[dict[str, str]] = []
    wide = False
    cells: list[list[str | None]] = []
    truncated = False
    size = 0
    for values, names in _rows(athena, query):
        if not columns:
            wide = len(names) > PREVIEW_COLUMNS
            columns = [
                {"Name": cut(name["Name"], 255), "Type": cut(name["Type"], 255)}
                for name in names[:PREVIEW_COLUMNS]
            ]
            size = _json_bytes(columns)
        if values is None:
            continue
        if len(cells) == rows:
            break
        row = [
            None if value is None else cut(value, PREVIEW_CELL_CHARACTERS)
            for value in values[:PREVIEW_COLUMNS]
        ]
        size += _json_bytes(row)
        if size > PREVIEW_BYTES:
            truncated = True
            break
        truncated |= row != values[:PREVIEW_COLUMNS]
        cells.append(row)
    return {"Columns": columns, "Rows": cells, "Truncated": truncated or wide}


def _rows(athena: "AthenaClient", query: Query) -> Iterator[tuple[list[str | None] | None, Any]]:
    """Each row's values with the columns' metadata; first None with the metadata alone.

    A DML result starts with a row of column names, others do not (Athena user guide, GetQueryResults).
    """
    pages = athena.get_paginator("get_query_results").paginate(
        QueryExecutionId=query.query_id, PaginationConfig={"PageSize": _PREVIEW_PAGE_ROWS}
    )
    for number, page in enumerate(pages):
        results = page["ResultSet"]
        names = results.get("ResultSetMetadata", {}).get("ColumnInfo", [])
        rows = results.get("Rows", [])
        if number == 0:
            yield None, names
            if query.statement_type == "DML":
                rows = rows[1:]
        for row in rows:
            yield [datum.get("VarCharValue") for datum in row.get("Data", [])], names


def _json_bytes(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())
