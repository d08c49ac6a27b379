"""Starts a query and stores the task token: the four calls of the executor."""

import time
from typing import Any

import boto3

athena = boto3.client("athena")
dynamodb = boto3.client("dynamodb")


def handler(event: dict[str, Any], _context: Any) -> None:
    execution = event["Execution"]
    put(execution["Id"], "Announced", execution["RedriveCount"])
    query_id = athena.start_query_execution(
        QueryString=execution["Input"]["QueryString"],
        QueryExecutionContext={"Database": "default"},
        WorkGroup="primary",
        ClientRequestToken="0" * 64,
    )["QueryExecutionId"]
    put(execution["Id"], "Started", query_id)
    put(query_id, "TaskToken", event["TaskToken"])


def put(key: str, name: str, value: Any) -> None:
    dynamodb.update_item(
        TableName="tasks",
        Key={"Id": {"S": key}},
        UpdateExpression="SET #n = :v, ExpiresAt = :e",
        ExpressionAttributeNames={"#n": name},
        ExpressionAttributeValues={":v": {"S": str(value)}, ":e": {"N": str(int(time.time()) + 86_400)}},
        ReturnValues="ALL_NEW",
    )
