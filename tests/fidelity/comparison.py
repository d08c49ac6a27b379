"""What of AWS's answers the functions read, and where the recordings are."""

import json
from pathlib import Path
from typing import Any

from functions.events import EXECUTION_STATUS_CHANGE, QUERY_STATE_CHANGE

RECORDINGS = Path(__file__).parent

# functions/queries.py and functions/canceller.py read these.
FIELDS = {
    "StartQueryExecution": {"QueryExecutionId"},
    "GetQueryExecution": {
        f"QueryExecution.{field}"
        for field in (
            *("Query", "StatementType", "SubstatementType", "ResultConfiguration.OutputLocation"),
            *("Status.State", "Status.SubmissionDateTime", "Status.CompletionDateTime"),
            *("Status.StateChangeReason", "Status.AthenaError.ErrorCategory", "Status.AthenaError.ErrorType"),
            *("Status.AthenaError.Retryable", "Status.AthenaError.ErrorMessage"),
            *("Statistics.DataScannedInBytes", "Statistics.DataManifestLocation"),
            *("Statistics.QueryQueueTimeInMillis", "Statistics.QueryPlanningTimeInMillis"),
            *("Statistics.EngineExecutionTimeInMillis", "Statistics.TotalExecutionTimeInMillis"),
            "Statistics.ResultReuseInformation.ReusedPreviousResult",
        )
    },
    "GetQueryResults": {
        "ResultSet.Rows[].Data[].VarCharValue",
        "ResultSet.ResultSetMetadata.ColumnInfo[].Name",
        "ResultSet.ResultSetMetadata.ColumnInfo[].Type",
    },
    "DescribeExecution": {"status", "input", "redriveCount", "error"},
    # What the rules match and pass on (functions/events.py, infra/rules.py).
    QUERY_STATE_CHANGE: {
        f"detail.{field}" for field in ("queryExecutionId", "currentState", "workgroupName")
    },
    EXECUTION_STATUS_CHANGE: {
        f"detail.{field}" for field in ("executionArn", "stateMachineArn", "status", "redriveCount")
    },
}


def recordings() -> tuple[str, dict[str, list[dict[str, Any]]]]:
    """Where the recordings were made, and the answers of each claim."""
    origin = "aws" if (RECORDINGS / "aws").is_dir() else "local"
    files = sorted((RECORDINGS / origin).glob("*.json"))
    return origin, {file.stem: json.loads(file.read_text()) for file in files}
