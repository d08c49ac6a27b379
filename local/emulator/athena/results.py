"""The results of a query on S3, and in GetQueryResults."""

from collections.abc import Sequence
from typing import Any

from ministack.core.responses import json_response
from ministack.services import athena

from local.emulator.athena import permissions, storage
from local.emulator.athena.errors import INVALID_INPUT, Refused
from local.emulator.athena.job import Job, Result, ResultColumn

_MAX_ROWS = 1000
# Statements that write their rows to a table's location: the result has neither rows nor an object.
_WRITES = {"CREATE_TABLE_AS_SELECT", "INSERT", "UNLOAD"}
_AS_CSV = {"SELECT", "SHOW_FUNCTIONS", "UPDATE", "DELETE", "MERGE"}
# Their results start with a row of column names.
_WITH_HEADER = {"SELECT", "EXPLAIN", "SHOW_FUNCTIONS"}
# GetQueryResults returns no update count for statements of the Hive engine and for EXPLAIN.
_WITHOUT_COUNT = {"EXPLAIN", "DESCRIBE_TABLE", "SHOW_CREATE_TABLE"}

# https://github.com/awslabs/amazon-s3-find-and-forget/issues/290
_NO_ACCESS = (
    "You do not seem to have access to the S3 location of your query results. Please confirm your account "
    "has access to the S3 location where your query results are saved and try again."
)


def location(job: Job) -> str:
    """The OutputLocation of a query's result."""
    if job.statement.kind == "CREATE_TABLE_AS_SELECT":
        return f"{job.scratch}tables/{job.query_id}"
    if job.statement.kind in _WRITES:
        return job.scratch + job.query_id
    return job.scratch + job.query_id + (".csv" if job.statement.kind in _AS_CSV else ".txt")


def write(job: Job, result: Result) -> str | None:
    """Write the result to S3; return the manifest's location if the statement wrote objects."""
    uri, key = location(job), _key(job.work_group)
    if job.statement.kind in _WRITES:
        if not result.manifest:
            return None
        manifest = f"{uri}-manifest.csv"
        storage.put_result(manifest, "\n".join(result.manifest).encode(), key)
        return manifest
    names: list[str | None] = [one.name for one in result.columns]
    if job.statement.kind in _AS_CSV:
        storage.put_result(uri, "".join(f"{_csv(row)}\n" for row in [names, *result.rows]).encode(), key)
    else:
        header = [names] if job.statement.kind in _WITH_HEADER else []
        storage.put_result(uri, "\n".join(str(row[0]) for row in [*header, *result.rows]).encode(), key)
    return None


def _key(work_group: str) -> str | None:
    """The KMS key with which the workgroup encrypts results."""
    known = athena._workgroups.get(work_group) or {}
    results = known.get("Configuration", {}).get("ResultConfiguration", {})
    key: str | None = results.get("EncryptionConfiguration", {}).get("KmsKey")
    return key


def _csv(cells: Sequence[str | None]) -> str:
    """Athena quotes every value and writes nothing for NULL."""
    return ",".join("" if cell is None else '"' + cell.replace('"', '""') + '"' for cell in cells)


def page(execution: dict[str, Any] | None, data: dict[str, Any]) -> Any:
    """The response of GetQueryResults. Raise Refused in the order of Athena's checks (measured)."""
    if execution is None:
        reason = f"QueryExecution {data.get('QueryExecutionId')} was not found"
        raise Refused(reason, "QUERY_EXECUTION_NOT_FOUND")
    most = data.get("MaxResults") or _MAX_ROWS
    if most > _MAX_ROWS:
        raise Refused(f"MaxResults is more than maximum allowed length {_MAX_ROWS}", INVALID_INPUT)
    _check_state(execution["Status"]["State"])
    token = data.get("NextToken") or "0"
    if not token.isdecimal():
        raise Refused(f"Malformed nextPageToken {token}", INVALID_INPUT)
    uri, key = execution["ResultConfiguration"]["OutputLocation"], _key(execution["WorkGroup"])
    readable = key is None or permissions.allows_key("Decrypt", key)
    if not (readable and permissions.allows_object("GetObject", *storage.split(uri))):
        raise Refused(_NO_ACCESS, INVALID_INPUT)
    result: Result = execution["_result"]
    names: list[str | None] = [one.name for one in result.columns]
    rows = [names, *result.rows] if execution["SubstatementType"] in _WITH_HEADER else result.rows
    first = int(token)
    answer: dict[str, Any] = {
        "ResultSet": {
            "Rows": [{"Data": [_datum(cell) for cell in row]} for row in rows[first : first + most]],
            "ResultSetMetadata": {"ColumnInfo": [_column_info(one) for one in result.columns]},
        }
    }
    if result.updated is not None:
        answer["UpdateCount"] = result.updated
    elif execution["StatementType"] != "DDL" and execution["SubstatementType"] not in _WITHOUT_COUNT:
        answer["UpdateCount"] = 0
    if first + most < len(rows):
        answer["NextToken"] = str(first + most)
    return json_response(answer)


def _check_state(state: str) -> None:
    if state in {"QUEUED", "RUNNING"}:
        reason = f"Query has not yet finished. Current state: {state}"
        raise Refused(reason, "INVALID_QUERY_EXECUTION_STATE")
    if state == "FAILED":
        reason = "Query did not finish successfully. Final query state: FAILED"
        raise Refused(reason, "INVALID_QUERY_EXECUTION_STATE")
    if state == "CANCELLED":
        raise Refused("Could not find results", "RESULT_NOT_FOUND")


def _datum(cell: str | None) -> dict[str, str]:
    """NULL has no VarCharValue."""
    return {} if cell is None else {"VarCharValue": cell}


def _column_info(column: ResultColumn) -> dict[str, Any]:
    return {
        "CatalogName": "hive",
        "SchemaName": "",
        "TableName": "",
        "Name": column.name,
        "Label": column.name,
        "Type": column.type.shown,
        "Precision": column.type.precision,
        "Scale": column.type.scale,
        "Nullable": "UNKNOWN",
        "CaseSensitive": column.type.name in {"varchar", "char"},
    }
