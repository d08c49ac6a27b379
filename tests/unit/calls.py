"""The functions' AWS requests as the unit tests expect them, and the events that they are called with."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from tests.unit.conftest import NOW, SETTINGS, TABLE, WORK_GROUP

EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:queries:one"
ENTERED = "2026-01-02T03:04:05Z"
ENTRY = hashlib.sha256(f"{EXECUTION} {ENTERED} 0".encode()).hexdigest()
QUERY = "11111111-2222-3333-4444-555555555555"
TOKEN = "token-that-must-not-be-seen"
SQL = "SELECT count(*) FROM orders WHERE email = 'someone@example.com'"
EXPIRES = {"N": str(int(NOW) + SETTINGS.task_ttl_seconds)}

Item = dict[str, Any]


def task(document: Any, **changes: Any) -> dict[str, Any]:
    """What the state machine sends the executor from "Start query"."""
    return {
        "TaskToken": TOKEN,
        "StateName": "Start query",
        "Execution": {"Id": EXECUTION, "Input": document, "RedriveCount": 0},
        "Start": {"EnteredTime": ENTERED, "RedriveCount": 0, "RunAgain": {}},
        **changes,
    }


def query_event(state: str) -> dict[str, Any]:
    return {
        "detail-type": "Athena Query State Change",
        "source": "aws.athena",
        "detail": {"queryExecutionId": QUERY, "currentState": state, "workgroupName": WORK_GROUP},
    }


def update(key: str, put: Item, drop: tuple[str, ...] = (), answer: str = "ALL_NEW") -> dict[str, Any]:
    """The UpdateItem that merges attributes into an item."""
    put = {"ExpiresAt": EXPIRES, **put}
    names = {f"#n{i}": name for i, name in enumerate([*put, *drop])}
    expression = "SET " + ", ".join(f"#n{i} = :v{i}" for i in range(len(put)))
    if drop:
        expression += " REMOVE " + ", ".join(f"#n{i}" for i in range(len(put), len(names)))
    return {
        "TableName": TABLE,
        "Key": {"Id": {"S": key}},
        "UpdateExpression": expression,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": {f":v{i}": value for i, value in enumerate(put.values())},
        "ReturnValues": answer,
    }


def remove(key: str, attribute: str, value: Item) -> dict[str, Any]:
    """The UpdateItem that removes an attribute which still has this value."""
    return {
        "TableName": TABLE,
        "Key": {"Id": {"S": key}},
        "UpdateExpression": "REMOVE #n",
        "ConditionExpression": "#n = :value",
        "ExpressionAttributeNames": {"#n": attribute},
        "ExpressionAttributeValues": {":value": value},
    }


def get_item(key: str) -> dict[str, Any]:
    return {"TableName": TABLE, "Key": {"Id": {"S": key}}, "ConsistentRead": True}


def announcement(sql: str = SQL, entered: float = NOW) -> Item:
    return {
        "M": {
            "RedriveCount": {"N": "0"},
            "Entered": {"N": str(entered)},
            "At": {"N": str(NOW)},
            "StatementDigest": {"S": hashlib.sha256(sql.encode()).hexdigest()},
        }
    }


def announce(sql: str = SQL) -> dict[str, Any]:
    return update(EXECUTION, {f"Announced/{ENTRY}": announcement(sql)}, answer="ALL_OLD")


def started(entered: float = NOW) -> Item:
    return {"M": {"RedriveCount": {"N": "0"}, "Entered": {"N": str(entered)}, "QueryId": {"S": QUERY}}}


STARTED = started()
REGISTER = update(EXECUTION, {f"Started/{ENTRY}": STARTED}, (f"Announced/{ENTRY}",))
FORGET = remove(QUERY, "TaskToken", {"S": TOKEN})


def half(**changes: Any) -> Item:
    """The executor's half of a query's item."""
    return {
        "TaskToken": {"S": TOKEN},
        "ExecutionId": {"S": EXECUTION},
        "RedriveCount": {"N": "0"},
        "Attempt": {"N": "1"},
        "MaxAttempts": {"N": "2"},
        "Idempotent": {"BOOL": False},
        "PreviewRows": {"N": "0"},
        **changes,
    }


def start(**changes: Any) -> dict[str, Any]:
    return {
        "QueryString": SQL,
        "QueryExecutionContext": {"Database": "sales", "Catalog": "AwsDataCatalog"},
        "WorkGroup": WORK_GROUP,
        "ClientRequestToken": ENTRY,
        **changes,
    }


def query_execution(state: str, *, sql: str = SQL, error: Item | None = None, **changes: Any) -> Item:
    """GetQueryExecution's answer; the query was submitted at NOW and ended two seconds later."""
    status: Item = {"State": state, "SubmissionDateTime": datetime.fromtimestamp(NOW - 2, UTC)}
    if state in {"SUCCEEDED", "FAILED", "CANCELLED"}:
        status["CompletionDateTime"] = datetime.fromtimestamp(NOW, UTC)
    if error:
        status |= {"StateChangeReason": error["ErrorMessage"], "AthenaError": error}
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


def athena_error(*, retryable: bool = False, category: int = 2) -> Item:
    return {
        "ErrorCategory": category,
        "ErrorType": 1001,
        "Retryable": retryable,
        "ErrorMessage": "Cannot cast 'someone@example.com'",
    }
