"""Step Functions of the emulator against what AWS documents."""

import json
import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.emulator.stepfunctions import executions
from local.environment import REGION
from tests.emulator.conftest import RETURNS_ITS_INPUT, Emulator, Machines, wait_until, waiting

START = "arn:aws:states:::states:startExecution"
CHILD = "arn:aws:states:::states:startExecution.sync:2"
CALLBACK = "arn:aws:states:::lambda:invoke.waitForTaskToken"


def test_an_aborted_execution_never_changes(machines: Machines, callback: dict[str, Any]) -> None:
    execution = waiting(machines, machines.start(machines.of_one(**callback)))

    machines.client.stop_execution(executionArn=execution, error="Operator", cause="maintenance")

    aborted = machines.describe(execution)
    with pytest.raises(machines.client.exceptions.TaskTimedOut):
        machines.client.send_task_failure(taskToken=machines.token(execution), error="Late", cause="{}")
    again = machines.client.stop_execution(executionArn=execution, error="Again")
    assert (aborted["status"], aborted["error"], aborted["cause"]) == ("ABORTED", "Operator", "maintenance")
    assert again["stopDate"] == aborted["stopDate"]
    assert machines.describe(execution) == aborted
    assert machines.history(execution)[-1] == "ExecutionAborted"


def test_an_aborted_parent_aborts_its_child(machines: Machines, callback: dict[str, Any]) -> None:
    child = machines.of_one(**callback)
    parent = machines.start(
        machines.of_one(Type="Task", Resource=CHILD, Arguments={"StateMachineArn": child, "Input": {}})
    )
    (child_execution,) = wait_until(lambda: machines.executions(child))

    machines.client.stop_execution(executionArn=parent)

    assert machines.ended(child_execution["executionArn"])["status"] == "ABORTED"
    assert machines.describe(parent)["status"] == "ABORTED"


def test_a_failed_child_fails_its_parents_task_with_its_description(machines: Machines) -> None:
    child = machines.of_one(Type="Fail", Error="Custom.Error", Cause="the reason", End=None)
    parent = machines.run(
        machines.of_one(Type="Task", Resource=CHILD, Arguments={"StateMachineArn": child, "Input": {"a": 1}})
    )

    cause = json.loads(parent["cause"])
    assert (parent["status"], parent["error"]) == ("FAILED", "States.TaskFailed")
    assert (cause["Status"], cause["Error"], cause["Cause"]) == ("FAILED", "Custom.Error", "the reason")
    assert cause["Input"] == '{"a": 1}'
    assert cause["ExecutionArn"].startswith("arn:aws:states:")
    assert isinstance(cause["StopDate"], int)


def test_a_childs_output_is_json(machines: Machines) -> None:
    child = machines.of_one(Type="Pass", Output={"b": "{% $states.input.a + 1 %}"})
    parent = machines.run(
        machines.of_one(
            Type="Task",
            Resource=CHILD,
            Arguments={"StateMachineArn": child, "Input": {"a": 1}},
            Output="{% $states.result.Output.b %}",
        )
    )

    assert parent["output"] == "2"


def test_a_child_that_is_only_started_runs_once_under_its_name(machines: Machines) -> None:
    child = machines.of_one(Type="Pass")
    parent = machines.of_one(
        Type="Task",
        Resource=START,
        Arguments={"StateMachineArn": child, "Name": "daily", "Input": "{% $states.input %}"},
    )

    first, second = (machines.run(parent, {"a": number}) for number in (1, 2))

    assert json.loads(first["output"])["ExecutionArn"].endswith(":daily")
    assert (second["status"], second["error"]) == (
        "FAILED",
        "StepFunctions.ExecutionAlreadyExistsException",
    )
    assert len(machines.executions(child)) == 1


def test_an_execution_of_a_deleted_machine_fails_at_its_next_transition(
    machines: Machines, callback: dict[str, Any]
) -> None:
    arn = machines.create(
        {
            "StartAt": "First",
            "States": {"First": {**callback, "Next": "Second"}, "Second": {"Type": "Succeed"}},
        }
    )
    execution = waiting(machines, machines.start(arn))

    machines.client.delete_state_machine(stateMachineArn=arn)

    assert machines.describe(execution)["status"] == "RUNNING"
    machines.client.send_task_success(taskToken=machines.token(execution), output="{}")
    ended = machines.ended(execution)
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Runtime")
    assert ended["cause"].endswith(" has been deleted.")


def test_a_nested_execution_needs_the_permissions_of_its_pattern(
    emulator: Emulator, machines: Machines
) -> None:
    child = machines.of_one(Type="Pass")
    start = {"Action": "states:StartExecution", "Resource": child}
    executions = f"{child.replace(':stateMachine:', ':execution:')}:*"
    follow = {"Action": ["states:DescribeExecution", "states:StopExecution"], "Resource": executions}
    events = ["events:PutTargets", "events:PutRule", "events:DescribeRule"]
    rule = f"arn:aws:events:{REGION}:*:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"

    def outcome(resource: str, *allowed: dict[str, Any]) -> str:
        state = {"Type": "Task", "Resource": resource, "Arguments": {"StateMachineArn": child, "Input": {}}}
        definition = {"StartAt": "Only", "States": {"Only": {**state, "End": True}}}
        execution = machines.run(machines.create(definition, emulator.role_with(*allowed)))
        return str(execution.get("cause", execution["status"]))

    assert "not authorized to perform: states:StartExecution" in outcome(START)
    assert outcome(START, start) == "SUCCEEDED"
    assert "not authorized to perform: states:DescribeExecution" in outcome(CHILD, start)
    assert "not authorized to perform: events:PutTargets" in outcome(CHILD, start, follow)
    assert outcome(CHILD, start, follow, {"Action": events, "Resource": rule}) == "SUCCEEDED"


def test_a_payload_over_256_kib_is_caught_by_its_name_only(
    machines: Machines, function: Callable[..., str]
) -> None:
    arn = function(RETURNS_ITS_INPUT)
    text = "x" * 131_000

    def outcome(*names: str) -> tuple[str, str | None]:
        execution = machines.run(
            machines.create(
                {
                    "StartAt": "Doubled",
                    "States": {
                        "Doubled": {
                            "Type": "Task",
                            "Resource": arn,
                            "Arguments": ["{% $states.input %}", "{% $states.input & 'y' %}", "z" * 300],
                            "Catch": [{"ErrorEquals": [name], "Next": "Caught"} for name in names],
                            "End": True,
                        },
                        "Caught": {"Type": "Pass", "Output": "caught", "End": True},
                    },
                }
            ),
            text,
        )
        return execution["status"], execution.get("error")

    assert outcome("States.ALL") == ("FAILED", "States.DataLimitExceeded")
    assert outcome("States.DataLimitExceeded") == ("SUCCEEDED", None)


def test_a_result_over_256_kib_fails_the_task(machines: Machines, function: Callable[..., str]) -> None:
    arn = function("def handler(event, context):\n    return 'x' * event['Characters']\n")
    machine = machines.of_one(Type="Task", Resource=arn, Output="short")

    assert machines.run(machine, {"Characters": 262_142})["status"] == "SUCCEEDED"
    assert machines.run(machine, {"Characters": 262_143})["error"] == "States.DataLimitExceeded"


def test_a_variable_is_assigned_in_a_catch(machines: Machines, function: Callable[..., str]) -> None:
    arn = function("def handler(event, context):\n    raise LookupError('nothing')\n")
    execution = machines.run(
        machines.create(
            {
                "StartAt": "Fails",
                "States": {
                    "Fails": {
                        "Type": "Task",
                        "Resource": arn,
                        "Catch": [
                            {
                                "ErrorEquals": ["LookupError"],
                                "Assign": {"error": "{% $states.errorOutput.Error %}"},
                                "Output": {"since": "{% $states.context.State.EnteredTime %}"},
                                "Next": "Caught",
                            }
                        ],
                        "End": True,
                    },
                    "Caught": {"Type": "Pass", "Output": "{% $error %}", "End": True},
                },
            }
        )
    )

    assert execution["output"] == '"LookupError"'


def test_time_limits_may_be_expressions(machines: Machines, callback: dict[str, Any]) -> None:
    machine = machines.of_one(**callback, TimeoutSeconds="{% $states.input.Seconds %}")

    execution = machines.run(machine, {"Seconds": 1})

    assert (execution["status"], execution["error"]) == ("FAILED", "States.Timeout")
    assert "TaskTimedOut" in machines.history(execution["executionArn"])
    assert machines.details(execution["executionArn"], "TaskScheduled")[0]["timeoutInSeconds"] == 1
    assert machines.run(machine, {"Seconds": 0})["error"] == "States.QueryEvaluationError"


def test_an_execution_ends_at_its_own_time_limit(machines: Machines, callback: dict[str, Any]) -> None:
    machine = machines.create(
        {"TimeoutSeconds": 1, "StartAt": "Only", "States": {"Only": {**callback, "End": True}}}
    )

    execution = machines.run(machine)

    assert execution["status"] == "TIMED_OUT"
    assert machines.history(execution["executionArn"])[-1] == "ExecutionTimedOut"


def test_each_attempt_has_its_own_token(machines: Machines, callback: dict[str, Any]) -> None:
    retry = {"ErrorEquals": ["Again"], "IntervalSeconds": 1, "MaxDelaySeconds": 1, "JitterStrategy": "FULL"}
    execution = waiting(machines, machines.start(machines.of_one(**callback, Retry=[retry])))
    first = machines.token(execution)

    machines.client.send_task_failure(taskToken=first, error="Again")

    wait_until(lambda: machines.token(execution) != first)
    waiting(machines, execution)
    with pytest.raises(machines.client.exceptions.TaskTimedOut):
        machines.client.send_task_success(taskToken=first, output="1")
    machines.client.send_task_success(taskToken=machines.token(execution), output="2")
    assert machines.ended(execution)["output"] == "2"


def test_a_redrive_enters_the_failed_state_again(machines: Machines, callback: dict[str, Any]) -> None:
    execution = waiting(machines, machines.start(machines.of_one(**callback), {"a": 1}))
    machines.client.send_task_failure(taskToken=machines.token(execution), error="Failed")
    assert machines.ended(execution)["redriveStatus"] == "REDRIVABLE"

    answer = machines.client.redrive_execution(executionArn=execution)

    waiting(machines, execution)
    running = machines.describe(execution)
    assert (running["status"], running["redriveCount"]) == ("RUNNING", 1)
    assert running["redriveDate"] == answer["redriveDate"]
    assert "error" not in running
    machines.client.send_task_success(taskToken=machines.token(execution), output="1")
    assert machines.ended(execution)["status"] == "SUCCEEDED"


def payloads(machines: Machines, execution_arn: str) -> list[dict[str, Any]]:
    """The payload of each attempt of the execution's tasks."""
    scheduled = machines.details(execution_arn, "TaskScheduled")
    return [json.loads(one["parameters"])["Payload"] for one in scheduled]


def test_a_retry_keeps_the_entry_and_a_redrive_does_not(machines: Machines, callback: dict[str, Any]) -> None:
    context = {
        "Token": "{% $states.context.Task.Token %}",
        "Entered": "{% $states.context.State.EnteredTime %}",
        "Count": "{% $states.context.Execution.RedriveCount %}",
        "Time": "{% [$states.context.Execution.RedriveTime, 'none'][0] %}",
    }
    callback["Arguments"]["Payload"] = context
    retry = {"ErrorEquals": ["Again"], "IntervalSeconds": 1, "MaxAttempts": 1}
    execution = waiting(machines, machines.start(machines.of_one(**callback, Retry=[retry])))
    machines.client.send_task_failure(taskToken=machines.token(execution), error="Again")
    wait_until(lambda: len(payloads(machines, execution)) == 2)
    waiting(machines, execution)
    machines.client.send_task_failure(taskToken=machines.token(execution), error="Failed")
    machines.ended(execution)

    machines.client.redrive_execution(executionArn=execution)

    waiting(machines, execution)
    # The redrive has its retries again.
    machines.client.send_task_failure(taskToken=machines.token(execution), error="Again")
    wait_until(lambda: len(payloads(machines, execution)) == 4)
    first, retried, redriven, _ = payloads(machines, execution)
    assert first["Entered"] == retried["Entered"] < redriven["Entered"]
    assert [(one["Count"], one["Time"]) for one in (first, retried)] == [(0, "none")] * 2
    assert redriven["Count"] == 1
    assert first["Entered"] < redriven["Time"] <= redriven["Entered"]


def test_a_callback_may_come_before_the_function_returns(
    machines: Machines, function: Callable[..., str]
) -> None:
    arn = function(
        "import boto3\n"
        "def handler(event, context):\n"
        "    boto3.client('stepfunctions').send_task_success(taskToken=event['Token'], output='\"sent\"')\n"
        "    raise ValueError('after the callback')\n"
    )
    machine = machines.of_one(
        Type="Task",
        Resource=CALLBACK,
        Arguments={"FunctionName": arn, "Payload": {"Token": "{% $states.context.Task.Token %}"}},
    )

    execution = machines.run(machine)

    assert (execution["status"], execution["output"]) == ("SUCCEEDED", '"sent"')


def test_a_status_event_has_the_redrive_count_as_a_number(emulator: Emulator, machines: Machines) -> None:
    events, queue = emulator.client("events"), emulator.queue()
    machine = machines.of_one(Type="Fail", Error="Custom.Error", End=None)
    name = f"rule-{uuid.uuid4()}"
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [machine], "status": ["FAILED"]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": queue.arn}])
    try:
        arn = machines.run(machine)["executionArn"]
        machines.client.redrive_execution(executionArn=arn)
        bodies = [*wait_until(queue.receive)]
        while len(bodies) < 2:
            bodies += wait_until(queue.receive)
    finally:
        events.remove_targets(Rule=name, Ids=["1"])
        events.delete_rule(Name=name)

    details = sorted((json.loads(body)["detail"] for body in bodies), key=lambda one: one["redriveCount"])
    assert [one["redriveCount"] for one in details] == [0, 1]
    assert {(one["executionArn"], one["error"]) for one in details} == {(arn, "Custom.Error")}


def test_the_event_of_an_end_reports_it_although_a_redrive_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[str] = []
    monkeypatch.setattr(executions, "_publish_status", lambda record, _: published.append(record["status"]))
    arn = "arn:aws:states:us-east-1:000000000000:execution:machine:one"
    record = executions.new_record(arn, arn.replace(":execution:", ":stateMachine:"), "{}")
    run = executions.Run(record=record, definition={}, context={}, position=("Only", {}))
    # While the children are ended, the execution is redriven.
    redriven: Any = SimpleNamespace(end=lambda _: record.update(status="RUNNING"))
    run.children.append(redriven)

    run.end("FAILED", error="Custom.Error")

    assert published == ["FAILED"]


def test_the_newest_execution_is_listed_first(machines: Machines) -> None:
    machine = machines.of_one(Type="Pass")

    started = [machines.run(machine)["executionArn"] for _ in range(3)]

    assert [one["executionArn"] for one in machines.executions(machine)] == started[::-1]


def test_redrive_answers_with_epoch_seconds(machines: Machines) -> None:
    """Clients other than boto3 refuse a date in any other form."""
    failed = machines.run(machines.of_one(Type="Fail", End=None))
    bodies: list[bytes] = []
    machines.client.meta.events.register(
        "before-parse.sfn.RedriveExecution", lambda response_dict, **_: bodies.append(response_dict["body"])
    )

    machines.client.redrive_execution(executionArn=failed["executionArn"])

    assert isinstance(json.loads(bodies[0])["redriveDate"], float)


def test_executions_are_listed_by_status_and_those_of_a_state_machine_not_by_redrive(
    machines: Machines,
) -> None:
    machine = machines.of_one(Type="Fail", Error="Custom.Error", End=None)
    redriven, once = (machines.run(machine)["executionArn"] for _ in range(2))
    machines.client.redrive_execution(executionArn=redriven)
    machines.ended(redriven)

    def listed(**filters: str) -> set[str]:
        return {one["executionArn"] for one in machines.executions(machine, **filters)}

    assert listed(statusFilter="FAILED") == {once, redriven}
    assert listed(statusFilter="SUCCEEDED") == set()
    assert [one["executionArn"] for one in machines.executions(machine)] == [redriven, once], "by their end"
    with pytest.raises(ClientError, match="ValidationException"):
        listed(redriveFilter="REDRIVEN")


def test_only_a_success_has_an_output(machines: Machines) -> None:
    failed = machines.run(machines.of_one(Type="Fail", Error="Custom.Error", Cause="why", End=None))

    assert "output" not in failed
    assert failed["redriveCount"] == 0


def test_a_start_is_repeated_under_its_name_while_it_runs(
    machines: Machines, callback: dict[str, Any]
) -> None:
    machine = machines.of_one(**callback)

    first = machines.start(machine, {"a": 1}, name="daily")

    assert machines.start(machine, {"a": 1}, name="daily") == first
    with pytest.raises(machines.client.exceptions.ExecutionAlreadyExists):
        machines.start(machine, {"a": 2}, name="daily")


@pytest.mark.parametrize("name", ["2026-11-25T06:00:00Z", "a b", "a/b", "a*", "x" * 81])
def test_a_name_that_step_functions_refuses(machines: Machines, name: str) -> None:
    machine = machines.of_one(Type="Pass")

    with pytest.raises(machines.client.exceptions.InvalidName):
        machines.start(machine, name=name)


@pytest.mark.parametrize(
    ("document", "error"),
    [("{", "InvalidExecutionInput"), (json.dumps("x" * 262_143), "ValidationException")],
)
def test_an_input_that_step_functions_refuses(machines: Machines, document: str, error: str) -> None:
    machine = machines.of_one(Type="Pass")

    with pytest.raises(ClientError) as refusal:
        machines.client.start_execution(stateMachineArn=machine, input=document)

    assert refusal.value.response["Error"]["Code"] == error


def test_executions_are_counted(emulator: Emulator, machines: Machines) -> None:
    machine = machines.of_one(Type="Fail", Error="Custom.Error", End=None)
    machines.run(machine)

    def counted() -> set[str]:
        metrics = emulator.client("cloudwatch").list_metrics(
            Namespace="AWS/States", Dimensions=[{"Name": "StateMachineArn", "Value": machine}]
        )["Metrics"]
        return {one["MetricName"] for one in metrics}

    # The end is visible a moment before it is counted.
    wait_until(lambda: counted() == {"ExecutionsStarted", "ExecutionsFailed"})
