"""Settles the task of a query that has ended: the four calls of the checker."""

import json
from typing import Any

import boto3

athena = boto3.client("athena")
dynamodb = boto3.client("dynamodb")
stepfunctions = boto3.client("stepfunctions")


def handler(event: dict[str, Any], _context: Any) -> None:
    detail = event["detail"]
    key = {"Id": {"S": detail["queryExecutionId"]}}
    item = dynamodb.update_item(
        TableName="tasks",
        Key=key,
        UpdateExpression="SET #n = :v",
        ExpressionAttributeNames={"#n": "State"},
        ExpressionAttributeValues={":v": {"S": detail["currentState"]}},
        ReturnValues="ALL_NEW",
    )["Attributes"]
    query = athena.get_query_execution(QueryExecutionId=detail["queryExecutionId"])["QueryExecution"]
    token = item["TaskToken"]["S"]
    if query["Status"]["State"] == "SUCCEEDED":
        stepfunctions.send_task_success(
            taskToken=token, output=json.dumps({"QueryId": query["QueryExecutionId"]})
        )
    else:
        stepfunctions.send_task_failure(taskToken=token, error=query["Status"]["State"], cause="")
    dynamodb.update_item(
        TableName="tasks",
        Key=key,
        UpdateExpression="REMOVE TaskToken",
        ConditionExpression="TaskToken = :v",
        ExpressionAttributeValues={":v": {"S": token}},
    )
