"""The main job on the real template: StartExecution → executor → Athena → EventBridge → checker → success."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local import stack as local_stack
from local.stack import REGION, SETTINGS
from tests.end_to_end.conftest import Aws, Eventually

COUNT = {"QueryString": "SELECT count(*) AS flights FROM flights"}


def test_a_query_enters_two_states_and_is_settled_by_its_event(aws: Aws) -> None:
    run = aws.run(COUNT)

    assert run.states == ["Start query", "Done"]
    assert run.output is not None
    assert run.output["SettledBy"] == "event"
    assert aws.query(run.output["QueryId"])["Status"]["State"] == run.output["State"] == "SUCCEEDED"


def test_its_result_is_where_the_output_says(aws: Aws) -> None:
    output = aws.run(COUNT).output
    assert output is not None
    bucket, _, key = output["OutputLocation"].removeprefix("s3://").partition("/")

    body = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()

    assert body == '"flights"\n"336776"\n'


def test_an_event_that_comes_before_the_token_is_settled_by_the_executor(aws: Aws) -> None:
    aws.stack.deliver_events("early")

    run = aws.run(COUNT)

    assert run.states == ["Start query", "Done"]
    assert run.output is not None
    assert run.output["SettledBy"] == "executor"


def test_an_event_that_comes_twice_is_harmless(aws: Aws) -> None:
    aws.stack.deliver_events("twice")

    run = aws.run(COUNT)

    assert (run.status, run.states) == ("SUCCEEDED", ["Start query", "Done"])
    assert aws.dead_letters() == []


@pytest.mark.parametrize(
    ("sql", "error"),
    [(COUNT["QueryString"], None), ("SELECT no_such_column FROM flights", "AthenaQuery.Failed")],
)
def test_a_query_whose_event_never_comes_ends_by_the_fallback(aws: Aws, sql: str, error: str | None) -> None:
    aws.stack.deliver_events("off")

    run = aws.run({"QueryString": sql})

    assert run.states == [
        "Start query", "Get query status", "Check query status", "Done" if error is None else "Failed"
    ]  # fmt: skip
    assert run.error == error
    assert run.output is None or run.output["SettledBy"] == "poll"


def test_a_long_query_is_still_settled_by_its_event(aws: Aws, eventually: Eventually) -> None:
    """Events that come while the machine is in the fallback branch end the execution at once."""
    aws.stack.deliver_events("held")
    arn = aws.start(COUNT)
    # The query has ended, unheard of; "Start query" still waits.
    eventually(lambda: aws.ended_queries(arn))
    aws.stack.deliver_events("normal")

    answer = aws.ended(arn, eventually)

    assert answer["status"] == "SUCCEEDED"
    assert '"SettledBy": "event"' in answer["output"]


def test_a_failed_query_fails_the_execution_with_its_reason(aws: Aws) -> None:
    run = aws.run({"QueryString": "SELECT CAST(tailnum AS integer) FROM flights"})

    assert (run.status, run.error, run.states) == ("FAILED", "AthenaQuery.Failed", ["Start query"])
    assert (
        run.cause["ErrorCategory"]
        == aws.query(run.cause["QueryId"])["Status"]["AthenaError"]["ErrorCategory"]
    )
    assert "tailnum" in run.cause["Reason"]


def test_a_statement_that_athena_refuses_is_an_invalid_request(aws: Aws) -> None:
    run = aws.run({"QueryString": "SELEKT 1"})

    assert (run.error, run.cause["QueryId"]) == ("AthenaQuery.InvalidRequest", None)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "QueryString"),
        ({"QueryString": 7}, "input.QueryString must be string"),
        ({"QueryString": "SELECT 1", "Querystring": "x"}, "Querystring"),
        ({"QueryString": "SELECT 1", "TimeoutSeconds": "60"}, "input.TimeoutSeconds must be integer"),
        ([], "input must be object"),
    ],
)
def test_bad_input_is_refused_by_name_and_starts_nothing(aws: Aws, document: Any, words: str) -> None:
    before = aws.query_ids()

    run = aws.run(document)

    assert run.error == "AthenaQuery.InvalidInput"
    assert words in run.cause["Reason"]
    assert aws.query_ids() == before


def test_parameters_reach_the_query_as_they_are(aws: Aws) -> None:
    run = aws.run(
        {
            "QueryString": "SELECT count(*) FROM flights WHERE origin = ? AND distance > ?",
            "ExecutionParameters": ["'JFK'", "2000"],
            "PreviewRows": 1,
        }
    )

    assert run.output is not None
    assert run.output["Preview"]["Rows"] == [["32189"]]


def test_stopping_an_execution_stops_its_query(aws: Aws, eventually: Eventually) -> None:
    arn = aws.start({"QueryString": aws.slow_query()})
    query_id = eventually(lambda: aws.running_queries(arn))[0]

    aws.client("stepfunctions").stop_execution(executionArn=arn)

    eventually(lambda: aws.query(query_id)["Status"]["State"] == "CANCELLED")


def test_the_deadline_stops_the_query(aws: Aws) -> None:
    run = aws.run({"QueryString": aws.slow_query(), "TimeoutSeconds": 1})

    assert run.error == "AthenaQuery.TimedOut"
    assert aws.query(run.cause["QueryId"])["Status"]["State"] == "CANCELLED"


def test_a_redrive_starts_a_new_query(aws: Aws, eventually: Eventually) -> None:
    stepfunctions = aws.client("stepfunctions")
    first = aws.run({"QueryString": "SELECT * FROM scratch.not_yet_there"})
    aws.run({"QueryString": "CREATE TABLE scratch.not_yet_there AS SELECT 1 AS one"})

    stepfunctions.redrive_execution(executionArn=first.arn)

    answer = aws.ended(first.arn, eventually)
    assert (first.error, answer["status"]) == ("AthenaQuery.Failed", "SUCCEEDED")
    assert first.cause["QueryId"] not in answer["output"]


def test_a_second_stack_in_the_same_place_is_refused(aws: Aws, home: Path) -> None:
    with pytest.raises(local_stack.StackError, match="a stack is up at") as refusal:
        local_stack.up(home=home)

    assert refusal.value.code == 2
    assert local_stack.find(home) == aws.stack


def test_two_stacks_do_not_hear_each_others_queries(aws: Aws, home: Path) -> None:
    other = local_stack.deploy(aws.stack.port, home, {**SETTINGS, "stackName": "OtherQueries"})

    ours = aws.run(COUNT)
    theirs = aws.run(COUNT, state_machine_arn=other["StateMachineArn"])

    assert ours.output is not None
    assert theirs.output is not None
    assert ours.output["SettledBy"] == theirs.output["SettledBy"] == "event"
    dynamodb = aws.client("dynamodb")
    for table, run in ((other["TaskTableName"], ours), (aws.stack.outputs["TaskTableName"], theirs)):
        item = dynamodb.get_item(TableName=table, Key={"Id": {"S": run.query_id}}, ConsistentRead=True)
        assert "Item" not in item


def test_permissions_are_enforced(aws: Aws) -> None:
    """So that the tests above show that each role may do what its function needs."""
    iam = aws.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    athena = boto3.client(
        "athena",
        endpoint_url=aws.stack.endpoint,
        region_name=REGION,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )

    with pytest.raises(ClientError, match="AccessDenied"):
        athena.start_query_execution(QueryString="SELECT 1", WorkGroup=aws.stack.outputs["WorkGroupName"])


def test_boto3_needs_nothing_but_the_printed_exports(aws: Aws) -> None:
    program = (
        "import boto3, os, json\n"
        "answer = boto3.client('stepfunctions').start_execution(\n"
        "    stateMachineArn=os.environ['STATE_MACHINE_ARN'],\n"
        "    input=json.dumps({'QueryString': 'SELECT 1'}))\n"
        "print(answer['executionArn'])\n"
    )

    told = subprocess.run(  # noqa: S603 - this interpreter, a program of the test's own
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], **aws.stack.exports},
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout.startswith("arn:aws:states:")
