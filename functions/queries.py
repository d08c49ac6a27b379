"""Athena: start a query, get its state, stop it, read the first rows of its result."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.contract import Request
from functions.errors import InvalidRequest, Throttled, cut
from functions.events import TERMINAL_STATES
from functions.runtime import CALL_SECONDS
from functions.settings import Settings
from functions.task_table import Statement
from functions.time_budget import time_budget

if TYPE_CHECKING:
    from mypy_boto3_athena import AthenaClient

# Two quotas: the account's number of active queries, and the call rate.
_THROTTLES = frozenset({"TooManyRequestsException", "ThrottlingException"})

# The request itself cannot be served. Access is denied to data that the stack's settings do not name, or to a
# named query of another workgroup.
_INVALID = frozenset({"InvalidRequestException", "AccessDeniedException"})

# AthenaError.ErrorCategory 1 is a system error (Athena API reference, AthenaError).
_SYSTEM_ERROR = 1

# What Athena takes as a statement, in bytes of UTF-8 (Athena user guide, "Service Quotas"). The task table
# holds the text of an announced named query, and an item has at most 400 KB.
_STATEMENT_BYTES = 262_144

# BatchGetQueryExecution takes 50 ids (Athena API reference).
_BATCH = 50

# Limits of a preview. With the rest of the output it stays well below Step Functions' 256 KiB.
PREVIEW_CELL_CHARACTERS = 1_024
PREVIEW_COLUMNS = 200
PREVIEW_BYTES = 128 * 1024
# Ten rows a page: a row may be megabytes wide, and a page is held in memory whole.
_PREVIEW_PAGE_ROWS = 10
# The time that a further page needs: seven seconds for the page, and what the callback needs after it.
_PREVIEW_PAGE_SECONDS = 7 + CALL_SECONDS

# AthenaError types of errors that recur, although Athena puts some of them into category 1: parse errors of
# DDL (1003), Glue validation (1502) and time-outs (206, 210) were measured or are in Athena's error catalog.
_RECURRING_TYPES = frozenset({206, 210, 1003, 1006, 1401, 1500, 1501, 1502})

# The statement of a claim: it reads no data and costs nothing.
CLAIM = "EXPLAIN SELECT 1"


class TokenInUse(Exception):
    """The ClientRequestToken was used with another statement."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query execution as Athena describes it. Times are UTC; None until they are known."""

    query_id: str
    state: str
    sql: str = field(repr=False)
    statement_type: str | None = None
    substatement_type: str | None = None
    output_location: str | None = None
    manifest_location: str | None = None
    submitted: datetime | None = None
    completed: datetime | None = None
    reason: str = field(default="", repr=False)
    error_category: int | None = None
    error_type: int | None = None
    retryable: bool | None = None
    scanned_bytes: int = 0
    dpu_count: float | None = None
    queue_ms: int = 0
    planning_ms: int = 0
    engine_ms: int = 0
    total_ms: int = 0
    reused_result: bool = False

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL_STATES

    @property
    def transient(self) -> bool:
        """Whether the same statement may succeed when it runs again.

        `Retryable` decides where Athena gives it. Category 1, a system error, decides only without it, since
        Athena puts users' errors there too.
        """
        if self.retryable is not None:
            return self.retryable
        return self.error_category == _SYSTEM_ERROR and self.error_type not in _RECURRING_TYPES


def resolve(athena: "AthenaClient", request: Request, settings: Settings) -> Statement:
    """The request's statement with its context, named query and defaults resolved.

    Raise InvalidRequest if there is no such named query or it is too long, Throttled if Athena throttles the
    call.
    """
    if request.named_query_id is None:
        return Statement(
            query_string=str(request.query_string),
            database=request.database or settings.default_database,
            catalog=request.catalog,
            named=False,
        )
    # IAM lets us read the named queries of our own workgroup only.
    with _refusals():
        named = athena.get_named_query(NamedQueryId=request.named_query_id)["NamedQuery"]
    size = len(named["QueryString"].encode(errors="replace"))
    if size > _STATEMENT_BYTES:
        raise InvalidRequest(
            f"The named query has {size:,} bytes; Athena takes at most {_STATEMENT_BYTES:,}."
        )
    return Statement(
        query_string=named["QueryString"],
        database=request.database or named["Database"],
        catalog=request.catalog,
        named=True,
    )


def start(
    athena: "AthenaClient",
    statement: Statement,
    request: Request,
    settings: Settings,
    client_request_token: str,
) -> str:
    """Start the query and return its id. The same token returns the same query.

    Raise InvalidRequest if Athena refuses the statement, Throttled if it has no capacity, TokenInUse if
    the token belongs to another statement.
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
    with _refusals():
        return athena.start_query_execution(
            QueryString=statement.query_string,
            QueryExecutionContext={"Database": statement.database, "Catalog": statement.catalog},
            WorkGroup=settings.work_group,
            ClientRequestToken=client_request_token,
            **optional,
        )["QueryExecutionId"]


def claim(athena: "AthenaClient", settings: Settings, client_request_token: str) -> bool:
    """Use up the token with a statement that does nothing. Return False if a query was started with it
    before.

    Athena takes a token for one statement only (StartQueryExecution API reference), so after this nothing
    else can be started with it: docs/adr/0011-claim-unconfirmed-starts.md. Raise Throttled if Athena has no
    capacity.
    """
    try:
        with _refusals():
            athena.start_query_execution(
                QueryString=CLAIM, WorkGroup=settings.work_group, ClientRequestToken=client_request_token
            )
    except TokenInUse:
        return False
    return True


@contextmanager
def _refusals() -> Iterator[None]:
    """Convert errors that the caller can act on into typed errors. Others are faults and pass."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        reason = error.response["Error"].get("Message", code)
        # The code was measured on Athena; the API reference documents only that such a request is an error.
        if error.response.get("AthenaErrorCode") == "IDEMPOTENT_PARAMETER_MISMATCH":
            raise TokenInUse from None
        if code in _THROTTLES:
            raise Throttled(f"{code}: {reason}") from None
        if code in _INVALID:
            raise InvalidRequest(reason) from None
        raise


def get_query(athena: "AthenaClient", query_id: str) -> Query:
    """Get the query's current state: one GetQueryExecution."""
    query = athena.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
    status = query["Status"]
    statistics = query.get("Statistics", {})
    error = status.get("AthenaError", {})
    return Query(
        query_id=query_id,
        state=status["State"],
        sql=query.get("Query", ""),
        statement_type=query.get("StatementType"),
        substatement_type=query.get("SubstatementType"),
        output_location=query.get("ResultConfiguration", {}).get("OutputLocation") or None,
        manifest_location=statistics.get("DataManifestLocation") or None,
        submitted=status.get("SubmissionDateTime"),
        completed=status.get("CompletionDateTime"),
        reason=status.get("StateChangeReason") or error.get("ErrorMessage") or "",
        error_category=error.get("ErrorCategory"),
        error_type=error.get("ErrorType"),
        retryable=error.get("Retryable"),
        scanned_bytes=statistics.get("DataScannedInBytes", 0),
        dpu_count=statistics.get("DpuCount"),
        queue_ms=statistics.get("QueryQueueTimeInMillis", 0),
        planning_ms=statistics.get("QueryPlanningTimeInMillis", 0),
        engine_ms=statistics.get("EngineExecutionTimeInMillis", 0),
        total_ms=statistics.get("TotalExecutionTimeInMillis", 0),
        reused_result=statistics.get("ResultReuseInformation", {}).get("ReusedPreviousResult", False),
    )


def completion_times(athena: "AthenaClient", query_ids: Sequence[str]) -> dict[str, datetime]:
    """The completion time of each ended query. Ids that Athena leaves unprocessed are read singly."""
    times: dict[str, datetime] = {}
    for start in range(0, len(query_ids), _BATCH):
        answer = athena.batch_get_query_execution(QueryExecutionIds=query_ids[start : start + _BATCH])
        queries = [
            *answer["QueryExecutions"],
            *(
                athena.get_query_execution(QueryExecutionId=unprocessed["QueryExecutionId"])["QueryExecution"]
                for unprocessed in answer.get("UnprocessedQueryExecutionIds", [])
            ),
        ]
        times |= {
            query["QueryExecutionId"]: query["Status"]["CompletionDateTime"]
            for query in queries
            if query["Status"]["State"] in TERMINAL_STATES
        }
    return times


def stop(athena: "AthenaClient", query_id: str) -> None:
    """Ask Athena to stop the query, which ends as CANCELLED shortly after. An ended one does not change."""
    athena.stop_query_execution(QueryExecutionId=query_id)


def preview(athena: "AthenaClient", query: Query, rows: int) -> dict[str, Any]:
    """The first `rows` rows as in output.schema.json, within the limits above.

    Raise OutOfTime if reading them takes so long that no time would be left to send them.
    """
    columns: list[dict[str, str]] = []
    cells: list[list[str | None]] = []
    truncated = False
    size = 0
    for number, (values, metadata) in enumerate(_rows(athena, query)):
        if number == 0:
            columns, size = _preview_columns(metadata)
            truncated = len(columns) < len(metadata)
        if values is None:
            continue
        if len(cells) == rows:
            break
        shown = values[: len(columns)]
        row = [None if value is None else cut(value, PREVIEW_CELL_CHARACTERS) for value in shown]
        size += _json_bytes(row)
        if size > PREVIEW_BYTES:
            truncated = True
            break
        truncated |= row != shown
        cells.append(row)
    return {"Columns": columns, "Rows": cells, "Truncated": truncated}


def _preview_columns(metadata: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, str]], int]:
    """The columns that fit, and their size in bytes: at most half of the preview, which leaves room for
    rows.
    """
    columns: list[dict[str, str]] = []
    size = 0
    for one in metadata[:PREVIEW_COLUMNS]:
        column = {"Name": cut(one["Name"], 255), "Type": cut(one["Type"], 255)}
        if size + _json_bytes(column) > PREVIEW_BYTES // 2:
            break
        size += _json_bytes(column)
        columns.append(column)
    return columns, size


def _rows(athena: "AthenaClient", query: Query) -> Iterator[tuple[list[str | None] | None, Any]]:
    """Each row's values with the columns' metadata; first None with the metadata alone.

    The first row may be the column names: Athena's results of DML and of some UTILITY statements start with
    it.
    """
    pages = athena.get_paginator("get_query_results").paginate(
        QueryExecutionId=query.query_id, PaginationConfig={"PageSize": _PREVIEW_PAGE_ROWS}
    )
    for number, page in enumerate(pages):
        results = page["ResultSet"]
        metadata = results.get("ResultSetMetadata", {}).get("ColumnInfo", [])
        rows = [
            [datum.get("VarCharValue") for datum in row.get("Data", [])] for row in results.get("Rows", [])
        ]
        if number == 0:
            yield None, metadata
            if rows and rows[0] == [column["Name"] for column in metadata]:
                rows = rows[1:]
        for row in rows:
            yield _split(row, len(metadata)), metadata
        if "NextToken" in page:
            time_budget.require(_PREVIEW_PAGE_SECONDS)


def _split(row: list[str | None], columns: int) -> list[str | None]:
    """A row of DESCRIBE has one cell for its three columns, joined by tabs and padded with blanks
    (measured).
    """
    if len(row) != 1 or columns < 2 or row[0] is None:  # noqa: PLR2004 - more columns than the one cell
        return row
    cells: list[str | None] = [cell.strip() for cell in row[0].split("\t")]
    return [*cells, *[""] * (columns - len(cells))][:columns]


def _json_bytes(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())
