"""Run a statement through the state machine and print its rows as CSV: `python run_query.py NAME SQL`.

STATE_MACHINE_ARN names the state machine. NAME is the execution's: the same NAME runs the same SQL once.
"""

import csv
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.exceptions import ClientError

QUERY_SECONDS = 600  # then the state machine stops the query: AthenaQuery.TimedOut
PATIENCE_SECONDS = float(os.environ.get("PATIENCE_SECONDS", "3600"))  # then this program stops the execution


class QueryError(Exception):
    """The execution did not succeed: its error, such as AthenaQuery.Failed, and its cause."""


def run(stepfunctions: Any, state_machine: str, name: str, query: dict[str, Any]) -> dict[str, Any]:
    """Start the execution unless it exists, wait for its end, and return its output."""
    arn = f"{state_machine.replace(':stateMachine:', ':execution:')}:{name}"
    try:
        stepfunctions.start_execution(stateMachineArn=state_machine, name=name, input=json.dumps(query))
    except stepfunctions.exceptions.ExecutionAlreadyExists:
        if json.loads(stepfunctions.describe_execution(executionArn=arn)["input"]) != query:
            raise
    began = time.monotonic()
    while (execution := stepfunctions.describe_execution(executionArn=arn))["status"] == "RUNNING":
        waited = time.monotonic() - began
        if waited > PATIENCE_SECONDS:
            stepfunctions.stop_execution(executionArn=arn, cause="The caller stopped waiting")
            raise TimeoutError(f"{name} did not end within {PATIENCE_SECONDS:.0f} s and was stopped")
        time.sleep(min(0.2 + waited / 10, 10))
    if execution["status"] != "SUCCEEDED":
        raise QueryError(execution.get("error", execution["status"]), execution.get("cause", ""))
    output: dict[str, Any] = json.loads(execution["output"])
    return output


def rows(athena: Any, query_id: str) -> Iterator[list[str | None]]:
    """The rows of the result, page by page; the first row of a SELECT has the column names. NULL is None."""
    for page in athena.get_paginator("get_query_results").paginate(QueryExecutionId=query_id):
        for row in page["ResultSet"]["Rows"]:
            yield [cell.get("VarCharValue") for cell in row["Data"]]


if __name__ == "__main__":
    query = {"QueryString": sys.argv[2], "TimeoutSeconds": QUERY_SECONDS}
    try:
        output = run(boto3.client("stepfunctions"), os.environ["STATE_MACHINE_ARN"], sys.argv[1], query)
    except (QueryError, TimeoutError, ClientError) as failure:
        sys.exit(": ".join(failure.args))
    csv.writer(sys.stdout).writerows(rows(boto3.client("athena"), output["QueryId"]))
