"""Stops the query of an execution that was aborted: the five calls of the canceller."""

from typing import Any

import boto3

athena = boto3.client("athena")
dynamodb = boto3.client("dynamodb")


def handler(event: dict[str, Any], _context: Any) -> None:
    execution_id = event["detail"]["executionArn"]
    item = put(execution_id, "Gone")
    for name, value in item.items():
        if name.startswith("Started/"):
            query_id = value["M"]["QueryId"]["S"]
            query = athena.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
            if query["Status"]["State"] in ("QUEUED", "RUNNING"):
                put(query_id, "StopRequested")
                athena.stop_query_execution(QueryExecutionId=query_id)
    put(execution_id, "CleanedUp")


def put(key: str, name: str) -> dict[str, Any]:
    answer = dynamodb.update_item(
        TableName="tasks",
        Key={"Id": {"S": key}},
        UpdateExpression="SET #n = :v",
        ExpressionAttributeNames={"#n": name},
        ExpressionAttributeValues={":v": {"BOOL": True}},
        ReturnValues="ALL_NEW",
    )
    return answer["Attributes"]
