"""The first event of each function, and AWS's responses to its calls."""

from typing import Any

FUNCTIONS = ("executor", "checker", "canceller")

_EXECUTION = "arn:aws:states:us-east-1:000000000000:execution:AthenaQueries:run-1"
_QUERY = "11111111-2222-3333-4444-555555555555"
_ENTRY = {"RedriveCount": {"N": "0"}, "Entered": {"N": "1764000000.0"}}
_TERMS = {
    "ExecutionId": {"S": _EXECUTION},
    "RedriveCount": {"N": "0"},
    "Attempt": {"N": "1"},
    "MaxAttempts": {"N": "2"},
    "Idempotent": {"BOOL": False},
    "PreviewRows": {"N": "0"},
}
_ITEM = {"Id": {"S": _QUERY}, "TaskToken": {"S": "token"}, "ExpiresAt": {"N": "1766000000"}, **_TERMS}
_STARTED = {"Id": {"S": _EXECUTION}, "Started/entry": {"M": {**_ENTRY, "QueryId": {"S": _QUERY}}}}


def _query(state: str) -> dict[str, Any]:
    return {
        "QueryExecution": {
            "QueryExecutionId": _QUERY,
            "Query": "SELECT 1",
            "StatementType": "DML",
            "ResultConfiguration": {"OutputLocation": f"s3://results/{_QUERY}.csv"},
            "Status": {
                "State": state,
                "SubmissionDateTime": 1764000000.0,
                "CompletionDateTime": 1764000001.0,
            },
            "Statistics": {
                "DataScannedInBytes": 1000,
                "EngineExecutionTimeInMillis": 900,
                "QueryQueueTimeInMillis": 50,
                "QueryPlanningTimeInMillis": 50,
                "TotalExecutionTimeInMillis": 1000,
            },
            "WorkGroup": "AthenaQueries",
        }
    }


EVENTS: dict[str, dict[str, Any]] = {
    "executor": {
        "TaskToken": "token",
        "StateName": "Start query",
        "Execution": {"Id": _EXECUTION, "Input": {"QueryString": "SELECT 1"}, "RedriveCount": 0},
        "Start": {
            "EnteredTime": "2025-11-24T16:00:00.000Z",
            "RedriveCount": 0,
            "RedriveTime": "",
            "RunAgain": {},
        },
    },
    "checker": {
        "detail-type": "Athena Query State Change",
        "detail": {"queryExecutionId": _QUERY, "currentState": "SUCCEEDED", "workgroupName": "AthenaQueries"},
    },
    "canceller": {
        "detail-type": "Step Functions Execution Status Change",
        "detail": {"executionArn": _EXECUTION, "status": "ABORTED", "redriveCount": 0, "error": None},
    },
}

# The calls for the event, in order, with their responses.
ANSWERS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "executor": [
        ("UpdateItem", {}),
        ("StartQueryExecution", {"QueryExecutionId": _QUERY}),
        ("UpdateItem", {"Attributes": _STARTED}),
        ("UpdateItem", {"Attributes": _ITEM}),
    ],
    "checker": [
        ("UpdateItem", {"Attributes": {**_ITEM, "State": {"S": "SUCCEEDED"}}}),
        ("GetQueryExecution", _query("SUCCEEDED")),
        ("SendTaskSuccess", {}),
        ("UpdateItem", {}),
    ],
    "canceller": [
        ("UpdateItem", {"Attributes": _STARTED}),
        ("GetQueryExecution", _query("RUNNING")),
        ("UpdateItem", {"Attributes": _ITEM}),
        ("StopQueryExecution", {}),
        ("UpdateItem", {"Attributes": _STARTED}),
    ],
}

# What the deployment and Lambda set.
ENVIRONMENT = {
    "TASK_TABLE": "tasks",
    "WORK_GROUP": "AthenaQueries",
    "STATE_MACHINE_ARN": "arn:aws:states:us-east-1:000000000000:stateMachine:AthenaQueries",
    "DEFAULT_DATABASE": "default",
    "DEFAULT_CATALOG": "AwsDataCatalog",
    "MAX_ATTEMPTS": "2",
    "USD_PER_TERABYTE": "5.0",
    "BYTES_SCANNED_LIMIT": "1099511627776",
    "POLL_SECONDS": "30",
    "POLL_GROWTH": "0.1",
    "TASK_TTL_DAYS": "30",
    "POWERTOOLS_SERVICE_NAME": "AthenaQueries",
    "POWERTOOLS_METRICS_NAMESPACE": "AthenaQueries",
    "POWERTOOLS_LOG_LEVEL": "INFO",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_LAMBDA_FUNCTION_NAME": "function",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
}
