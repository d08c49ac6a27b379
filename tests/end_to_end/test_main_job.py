"""The main job on the real template: StartExecution → executor → Athena → EventBridge → checker → success."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local import stack as local_stack
from local.environment import aws_variables
from ops.execution import Run, follow
from tests.end_to_end.conftest import Deployment, Eventually

COUNT = {"QueryString": "SELECT count(*) AS flights FROM flights"}


def test_a_query_enters_two_states_and_is_settled_by_its_event(deployment: Deployment) -> None:
    run = deployment.run(COUNT)

    assert run.states == ["Start query", "Done"]
    assert run.output is not None
    # The executor settles an event that comes before the token; test_a_late_event_settles_the_task holds it.
    assert run.output["SettledBy"] in {"event", "executor"}
    assert deployment.query(run.output["QueryId"])["Status"]["State"] == run.output["State"] == "SUCCEEDED"


def test_the_result_is_at_the_output_location(deployment: Deployment) -> None:
    output = deployment.run(COUNT).output
    assert output is not None
    bucket, _, key = output["OutputLocation"].removeprefix("s3://").partition("/")

    body = deployment.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()

    assert body == '"flights"\n"336776"\n'


def test_an_event_before_the_token_is_settled_by_the_executor(deployment: Deployment) -> None:
    deployment.stack.deliver_events("early")

    run = deployment.run(COUNT)

    assert run.states == ["Start query", "Done"]
    assert run.output is not None
    assert run.output["SettledBy"] == "executor"


def test_a_duplicate_event_is_harmless(deployment: Deployment) -> None:
    deployment.stack.deliver_events("twice")

    run = deployment.run(COUNT)

    assert (run.status, run.states) == ("SUCCEEDED", ["Start query", "Done"])
    assert deployment.dead_letters() == []


@pytest.mark.parametrize(
    ("sql", "error"),
    [(COUNT["QueryString"], None), ("SELECT no_such_column FROM flights", "AthenaQuery.Failed")],
)
def test_a_query_whose_event_is_lost_is_settled_by_the_fallback(
    deployment: Deployment, sql: str, error: str | None
) -> None:
    deployment.stack.deliver_events("off")

    run = deployment.run({"QueryString": sql})

    assert run.states == [
        "Start query", "Get query status", "Check query status", "Done" if error is None else "Failed"
    ]  # fmt: skip
    assert run.error == error
    assert run.output is None or run.output["SettledBy"] == "poll"


def test_a_late_event_settles_the_task(deployment: Deployment, eventually: Eventually) -> None:
    """An event that is late ends the execution at once."""

    def attempt() -> Run | None:
        """None if the machine was so busy that the window had passed before the query ended, or that the
        token was stored after the event.
        """
        deployment.stack.deliver_events("held")
        arn = deployment.start(COUNT)
        # The query has ended, its event is held; "Start query" still waits.
        eventually(lambda: deployment.ended_queries(arn))
        deployment.stack.deliver_events("normal")
        run = follow(deployment.client("stepfunctions"), arn)
        held = run.states == ["Start query", "Done"] and run.output and run.output["SettledBy"] == "event"
        return run if held else None

    run: Run = eventually(attempt)

    assert run.status == "SUCCEEDED"


def test_a_failed_query_fails_the_execution_with_its_reason(deployment: Deployment) -> None:
    run = deployment.run({"QueryString": "SELECT CAST(tailnum AS integer) FROM flights"})

    assert (run.status, run.error, run.states) == ("FAILED", "AthenaQuery.Failed", ["Start query"])
    assert (
        run.cause["ErrorCategory"]
        == deployment.query(run.cause["QueryId"])["Status"]["AthenaError"]["ErrorCategory"]
    )
    assert run.cause["Reason"].startswith("INVALID_CAST_ARGUMENT: Cannot cast ")


def test_a_statement_that_athena_refuses_is_an_invalid_request(deployment: Deployment) -> None:
    run = deployment.run({"QueryString": "SELEKT 1"})

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
def test_bad_input_is_refused_by_name_and_starts_nothing(
    deployment: Deployment, document: Any, words: str
) -> None:
    before = deployment.query_ids()

    run = deployment.run(document)

    assert run.error == "AthenaQuery.InvalidInput"
    assert words in run.cause["Reason"]
    assert deployment.query_ids() == before


def test_parameters_reach_the_query_as_they_are(deployment: Deployment) -> None:
    run = deployment.run(
        {
            "QueryString": "SELECT count(*) FROM flights WHERE origin = ? AND distance > ?",
            "ExecutionParameters": ["'JFK'", "2000"],
            "PreviewRows": 1,
        }
    )

    assert run.output is not None
    assert run.output["Preview"]["Rows"] == [["32189"]]


def test_stopping_an_execution_stops_its_query(deployment: Deployment, eventually: Eventually) -> None:
    arn = deployment.start({"QueryString": deployment.slow_query()})
    query_id = eventually(lambda: deployment.running_queries(arn))[0]
    stepfunctions = deployment.client("stepfunctions")

    stepfunctions.stop_execution(executionArn=arn, error="Operator", cause="maintenance")

    eventually(lambda: deployment.query(query_id)["Status"]["State"] == "CANCELLED")
    # Until the event of the cancelled query has been handled, which must not change the execution.
    eventually(lambda: deployment.stack.pending_events() == 0)
    ended = stepfunctions.describe_execution(executionArn=arn)
    assert (ended["status"], ended["error"], ended["cause"]) == ("ABORTED", "Operator", "maintenance")
    history = stepfunctions.get_execution_history(executionArn=arn)["events"]
    types = [event["type"] for event in history]
    assert types[-1] == "ExecutionAborted"
    assert "TaskFailed" not in types


def test_stopping_a_parent_stops_the_query_of_its_child(
    deployment: Deployment, eventually: Eventually
) -> None:
    nested = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Arguments": {
            "StateMachineArn": deployment.stack.outputs["StateMachineArn"],
            "Input": {
                "QueryString": deployment.slow_query(),
                "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": "{% $states.context.Execution.Id %}",
            },
            "Name": "{% 'child-of-' & $states.context.Execution.Name %}",
        },
        "End": True,
    }
    parent = deployment.caller(
        "parent", {"StartAt": "Query", "QueryLanguage": "JSONata", "States": {"Query": nested}}
    )
    stepfunctions = deployment.client("stepfunctions")
    execution = stepfunctions.start_execution(stateMachineArn=parent, name="nested")["executionArn"]
    machine = deployment.stack.outputs["StateMachineArn"]
    child = machine.replace(":stateMachine:", ":execution:") + ":child-of-nested"
    query_id = eventually(lambda: deployment.running_queries(child))[0]

    stepfunctions.stop_execution(executionArn=execution)

    eventually(lambda: deployment.query(query_id)["Status"]["State"] == "CANCELLED")
    assert deployment.ended(execution, eventually)["status"] == "ABORTED"
    assert deployment.ended(child, eventually)["status"] == "ABORTED"


def test_the_deadline_stops_the_query(deployment: Deployment) -> None:
    run = deployment.run({"QueryString": deployment.slow_query(), "TimeoutSeconds": 1})

    assert run.error == "AthenaQuery.TimedOut"
    assert deployment.query(run.cause["QueryId"])["Status"]["State"] == "CANCELLED"


def test_a_redrive_starts_a_new_query(deployment: Deployment, eventually: Eventually) -> None:
    stepfunctions = deployment.client("stepfunctions")
    first = deployment.run({"QueryString": "SELECT * FROM scratch.not_yet_there"})
    deployment.run({"QueryString": "CREATE TABLE scratch.not_yet_there AS SELECT 1 AS one"})

    stepfunctions.redrive_execution(executionArn=first.arn)

    answer = deployment.ended(first.arn, eventually)
    assert (first.error, answer["status"]) == ("AthenaQuery.Failed", "SUCCEEDED")
    assert first.cause["QueryId"] not in answer["output"]


def test_a_second_stack_in_the_same_place_is_refused(deployment: Deployment, home: Path) -> None:
    with pytest.raises(local_stack.StackError, match="a local stack is already running at") as refusal:
        local_stack.up(home=home)

    assert refusal.value.code == 2
    assert local_stack.find(home) == deployment.stack


def test_boto3_needs_nothing_but_the_exported_variables(deployment: Deployment) -> None:
    program = (
        "import boto3, os, json\n"
        "answer = boto3.client('stepfunctions').start_execution(\n"
        "    stateMachineArn=os.environ['STATE_MACHINE_ARN'],\n"
        "    input=json.dumps({'QueryString': 'SELECT 1'}))\n"
        "print(answer['executionArn'])\n"
    )

    completed = subprocess.run(  # noqa: S603 - this interpreter, a program of the test's own
        [sys.executable, "-c", program],
        env={
            "PATH": os.environ["PATH"],
            "STATE_MACHINE_ARN": deployment.stack.outputs["StateMachineArn"],
            **aws_variables(deployment.stack.endpoint),
        },
        capture_output=True,
        text=True,
        check=True,
    )

    assert completed.stdout.startswith("arn:aws:states:")
