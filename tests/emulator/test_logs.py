"""Saved queries of CloudWatch Logs Insights."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.conftest import Emulator


def saved(emulator: Emulator, prefix: str) -> list[dict[str, Any]]:
    answer = emulator.client("logs").describe_query_definitions(queryDefinitionNamePrefix=prefix)
    definitions: list[dict[str, Any]] = answer["queryDefinitions"]
    return definitions


def template(text: str) -> str:
    query = {"Name": "stack/settled", "QueryString": text, "LogGroupNames": ["/aws/lambda/checker"]}
    return json.dumps({"Resources": {"Query": {"Type": "AWS::Logs::QueryDefinition", "Properties": query}}})


def test_cloudformation_saves_changes_and_deletes_them(emulator: Emulator) -> None:
    cloudformation = emulator.client("cloudformation")
    cloudformation.create_stack(StackName="saved-queries", TemplateBody=template("fields @message"))
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="saved-queries", WaiterConfig={"Delay": 1}
    )

    [created] = saved(emulator, "stack/")
    cloudformation.update_stack(StackName="saved-queries", TemplateBody=template("fields @timestamp"))
    cloudformation.get_waiter("stack_update_complete").wait(
        StackName="saved-queries", WaiterConfig={"Delay": 1}
    )
    [changed] = saved(emulator, "stack/")
    cloudformation.delete_stack(StackName="saved-queries")
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName="saved-queries", WaiterConfig={"Delay": 1}
    )

    assert (created["queryString"], created["logGroupNames"]) == ("fields @message", ["/aws/lambda/checker"])
    assert changed["queryString"] == "fields @timestamp"
    assert changed["queryDefinitionId"] == created["queryDefinitionId"]
    assert saved(emulator, "stack/") == []


def test_callers_save_and_delete_them(emulator: Emulator) -> None:
    logs = emulator.client("logs")
    ids = [logs.put_query_definition(name=f"own/{n}", queryString="fields @message") for n in range(3)]

    first = logs.describe_query_definitions(queryDefinitionNamePrefix="own/", maxResults=2)
    rest = logs.describe_query_definitions(
        queryDefinitionNamePrefix="own/", maxResults=2, nextToken=first["nextToken"]
    )

    pages = [first, rest]
    assert [[one["name"] for one in page["queryDefinitions"]] for page in pages] == [
        ["own/0", "own/1"],
        ["own/2"],
    ]
    assert logs.delete_query_definition(queryDefinitionId=ids[0]["queryDefinitionId"])["success"]
    with pytest.raises(ClientError) as refused:
        logs.delete_query_definition(queryDefinitionId=ids[0]["queryDefinitionId"])
    assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"
