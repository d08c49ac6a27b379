"""Events, items and responses in AWS's format, shared by the unit tests."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from functions.queries import CLAIM
from tests.unit.conftest import NOW, WORK_GROUP

EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:queries:one"
ENTERED = "2026-01-02T03:04:05Z"
START = {"EnteredTime": ENTERED, "RedriveCount": 0, "RedriveTime": "", "RunAgain": {}}
QUERY = "11111111-2222-3333-4444-555555555555"
OTHER_QUERY = "66666666-7777-8888-9999-000000000000"
TOKEN = "token-that-must-not-be-seen"
SQL = "SELECT count(*) FROM orders WHERE email = 'someone@example.com'"

Item = dict[str, Any]


def entry_id(entered: str = ENTERED, redrive_count: int = 0) -> str:
    return hashlib.sha256(f"{EXECUTION} {entered} {redrive_count}".encode()).hexdigest()


ENTRY = entry_id()


def task(document: Any, *, redrive_count: int = 0, **changes: Any) -> dict[str, Any]:
    """The event that "Start query" sends to the executor."""
    return {
        "TaskToken": TOKEN,
        "StateName": "Start query",
        "Execution": {"Id": EXECUTION, "Input": document, "RedriveCount": redrive_count},
        "Start": {**START, "RedriveCount": redrive_count},
        **changes,
    }


def query_event(state: str) -> dict[str, Any]:
    return {
        "detail-type": "Athena Query State Change",
        "source": "aws.athena",
        "detail": {"queryExecutionId": QUERY, "currentState": state, "workgroupName": WORK_GROUP},
    }


def execution_event(status: str, redrive_count: int = 0) -> dict[str, Any]:
    return {
        "detail-type": "Step Functions Execution Status Change",
        "detail": {"executionArn": EXECUTION, "status": status, "redriveCount": redrive_count},
    }


def started(
    query_id: str = QUERY, *, entry: str = ENTRY, redrive_count: int = 0, entered: float = NOW
) -> Item:
    """The attribute of an execution's item for a registered query."""
    value = {"RedriveCount": number(redrive_count), "Entered": number(entered), "QueryId": {"S": query_id}}
    return {f"Started/{entry}": {"M": value}}


def announced(
    *, entry: str = ENTRY, redrive_count: int = 0, entered: float = NOW, query_string: str | None = None
) -> Item:
    """The attributes of an execution's item for a start that is announced and not confirmed."""
    statement = {"Database": {"S": "sales"}, "Catalog": {"S": "AwsDataCatalog"}}
    if query_string:
        statement["QueryString"] = {"S": query_string}
    announcement = {"RedriveCount": number(redrive_count), "Entered": number(entered), "At": number(NOW - 1)}
    return {f"Announced/{entry}": {"M": announcement}, f"Statement/{entry}": {"M": statement}}


def terms(**changes: Any) -> Item:
    """The executor's half of a query's item, without the token."""
    return {
        "ExecutionId": {"S": EXECUTION},
        "RedriveCount": {"N": "0"},
        "Attempt": {"N": "1"},
        "MaxAttempts": {"N": "2"},
        "Idempotent": {"BOOL": False},
        "PreviewRows": {"N": "0"},
        "Labels": {"M": {}},
        **changes,
    }


def waiting(**changes: Any) -> Item:
    """A query's item while a task waits for it."""
    return {"TaskToken": {"S": TOKEN}, **terms(**changes)}


def start_request(**changes: Any) -> dict[str, Any]:
    return {
        "QueryString": SQL,
        "QueryExecutionContext": {"Database": "sales", "Catalog": "AwsDataCatalog"},
        "WorkGroup": WORK_GROUP,
        "ClientRequestToken": ENTRY,
        **changes,
    }


def claim_request(token: str = ENTRY) -> dict[str, Any]:
    return {"QueryString": CLAIM, "WorkGroup": WORK_GROUP, "ClientRequestToken": token}


def query_execution(state: str, *, sql: str = SQL, error: Item | None = None, **changes: Any) -> Item:
    """The response of GetQueryExecution; the query was submitted at NOW - 2 and ended at NOW."""
    status: Item = {"State": state, "SubmissionDateTime": datetime.fromtimestamp(NOW - 2, UTC)}
    if state in {"SUCCEEDED", "FAILED", "CANCELLED"}:
        status["CompletionDateTime"] = datetime.fromtimestamp(NOW, UTC)
    if error:
        status |= {"StateChangeReason": error["ErrorMessage"], "AthenaError": error}
    status |= changes.pop("Status", {})
    return {
        "QueryExecution": {
            "QueryExecutionId": QUERY,
            "Query": sql,
            "StatementType": "DML",
            "ResultConfiguration": {"OutputLocation": f"s3://results/{QUERY}.csv"},
            "Status": status,
            "Statistics": {"DataScannedInBytes": 25_000_001, "TotalExecutionTimeInMillis": 2000},
            **changes,
        }
    }


def athena_error(*, retryable: bool | None = False, category: int = 2, error_type: int = 1001) -> Item:
    error: Item = {
        "ErrorCategory": category,
        "ErrorType": error_type,
        "ErrorMessage": "Cannot cast 'someone@example.com'",
    }
    return error if retryable is None else {**error, "Retryable": retryable}


def number(value: float) -> Item:
    return {"N": str(value)}
