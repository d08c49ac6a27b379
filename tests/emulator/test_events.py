"""EventBridge rules and pipes of the emulator against what AWS documents."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.conftest import Emulator, Queue, wait_until


@pytest.fixture
def rule(emulator: Emulator) -> Iterator[Callable[..., str]]:
    """Creates rules with one target, and returns their names."""
    events = emulator.client("events")
    names: list[str] = []

    def create(target: dict[str, Any], **settings: Any) -> str:
        names.append(f"rule-{uuid.uuid4()}")
        events.put_rule(Name=names[-1], **settings)
        events.put_targets(Rule=names[-1], Targets=[{"Id": "1", **target}])
        return names[-1]

    yield create
    for name in names:
        events.remove_targets(Rule=name, Ids=["1"])
        events.delete_rule(Name=name)


@pytest.fixture
def echo(emulator: Emulator, function: Callable[..., str]) -> tuple[str, Queue]:
    """A function that sends its event to a queue."""
    queue = emulator.queue()
    arn = function(
        "import boto3, json, os\n"
        "def handler(event, context):\n"
        "    boto3.client('sqs').send_message(QueueUrl=os.environ['QUEUE'], MessageBody=json.dumps(event))\n",
        Environment={"Variables": {"QUEUE": queue.url}},
    )
    return arn, queue


def put(emulator: Emulator, source: str, detail: dict[str, Any], *resources: str) -> None:
    emulator.client("events").put_events(
        Entries=[
            {
                "Source": source,
                "DetailType": "Test",
                "Detail": json.dumps(detail),
                "Resources": list(resources),
            }
        ]
    )


def test_an_input_transformer_gives_a_function_a_document_of_its_own(
    emulator: Emulator, rule: Callable[..., str], echo: tuple[str, Queue]
) -> None:
    arn, queue = echo
    paths = {
        "type": "$.detail-type",
        "id": "$.detail.id",
        "error": "$.detail.error",
        "first": "$.resources[0]",
        "nested": "$.detail.nested",
        "count": "$.detail.count",
    }
    template = (
        '{"detail-type": <type>, "detail": {"id": <id>, "error": <error>, "count": <count>},'
        ' "first": <first>, "text": "<id> of <first>", "nested": <nested>, "rule": <aws.events.rule-name>}'
    )
    transformer = {"InputPathsMap": paths, "InputTemplate": template}
    name = rule({"Arn": arn, "InputTransformer": transformer}, EventPattern='{"source": ["transformed"]}')

    detail = {"id": "q-1", "error": None, "count": 2, "nested": {"x": ["<id>"]}, "sql": "SELECT secret"}
    put(emulator, "transformed", detail, "arn:one")

    (body,) = wait_until(queue.receive)
    assert json.loads(body) == {
        "detail-type": "Test",
        "detail": {"id": "q-1", "error": None, "count": 2},
        "first": "arn:one",
        "text": "q-1 of arn:one",
        "nested": {"x": ["<id>"]},
        "rule": name,
    }


def test_a_schedule_fires_on_demand(
    emulator: Emulator, rule: Callable[..., str], echo: tuple[str, Queue]
) -> None:
    arn, queue = echo
    name = rule({"Arn": arn}, ScheduleExpression="rate(5 minutes)")
    disabled = rule({"Arn": arn}, ScheduleExpression="rate(5 minutes)", State="DISABLED")

    emulator.control("schedules", rule=name)
    emulator.control("schedules", rule=disabled)

    (body,) = wait_until(queue.receive)
    event = json.loads(body)
    assert (event["source"], event["detail-type"], event["detail"]) == ("aws.events", "Scheduled Event", {})
    wait_until(lambda: emulator.status()["pendingEvents"] == 0)
    assert queue.receive() == []


def test_an_event_for_a_function_that_is_gone_becomes_a_dead_letter(
    emulator: Emulator, rule: Callable[..., str]
) -> None:
    queue = emulator.queue()
    name = rule(
        {
            "Arn": "arn:aws:lambda:us-east-1:000000000000:function:gone",
            "DeadLetterConfig": {"Arn": queue.arn},
        },
        EventPattern='{"source": ["to-nobody"]}',
    )

    put(emulator, "to-nobody", {"a": 1})

    (body,) = wait_until(queue.receive)
    assert json.loads(body)["detail"] == {"a": 1}
    assert emulator.metric_sum("AWS/Events", "FailedInvocations", RuleName=name) == 1
    assert emulator.metric_sum("AWS/Events", "InvocationsSentToDlq", RuleName=name) == 1


@pytest.fixture
def machine(emulator: Emulator) -> str:
    """A state machine that returns its input."""
    created = emulator.client("stepfunctions").create_state_machine(
        name=f"machine-{uuid.uuid4()}",
        roleArn=emulator.role(),
        definition=json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}),
    )
    return str(created["stateMachineArn"])


def start(machine: str) -> dict[str, Any]:
    """A statement that allows executions of the state machine."""
    return {"Action": "states:StartExecution", "Resource": machine}


def inputs(emulator: Emulator, machine: str) -> list[Any]:
    """The inputs of the state machine's executions."""
    stepfunctions = emulator.client("stepfunctions")
    return [
        json.loads(stepfunctions.describe_execution(executionArn=one["executionArn"])["input"])
        for one in stepfunctions.list_executions(stateMachineArn=machine)["executions"]
    ]


def test_a_rule_starts_an_execution_with_the_permissions_of_its_role(
    emulator: Emulator, machine: str, rule: Callable[..., str]
) -> None:
    pattern = '{"source": ["of-a-role"]}'
    dead_letters = emulator.queue()
    target = {"Arn": machine, "InputPath": "$.detail"}
    rule({**target, "RoleArn": emulator.role_with(start(machine))}, EventPattern=pattern)
    refused = rule(
        {**target, "RoleArn": emulator.role_with(), "DeadLetterConfig": {"Arn": dead_letters.arn}},
        EventPattern=pattern,
    )

    put(emulator, "of-a-role", {"a": 1})

    assert wait_until(dead_letters.receive)
    assert inputs(emulator, machine) == [{"a": 1}]
    assert emulator.metric_sum("AWS/Events", "FailedInvocations", RuleName=refused) == 1


def test_a_schedule_passes_its_context_and_has_the_permissions_of_its_role(
    emulator: Emulator, machine: str
) -> None:
    scheduler = emulator.client("scheduler")
    text = '{"Time": "<aws.scheduler.scheduled-time>", "Attempt": "<aws.scheduler.attempt-number>"}'
    for name, role in (
        ("allowed", emulator.role_with(start(machine))),
        ("refused", emulator.role_with()),
    ):
        scheduler.create_schedule(
            Name=f"{name}-schedule",
            ScheduleExpression="cron(0 6 * * ? *)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": machine, "RoleArn": role, "Input": text},
        )

    emulator.control("scheduler", schedule="*-schedule", time="2026-11-25T06:00:00Z")

    assert inputs(emulator, machine) == [{"Time": "2026-11-25T06:00:00Z", "Attempt": "1"}]


@pytest.fixture
def pipe(emulator: Emulator, machine: str) -> Iterator[Callable[..., None]]:
    """Creates pipes from a queue to the state machine."""
    pipes = emulator.client("pipes")
    names: list[str] = []

    def create(source: Queue, **settings: Any) -> None:
        name = f"pipe-{uuid.uuid4()}"
        target = settings.pop("Target", machine)
        role = settings.pop("RoleArn", emulator.role())
        pipes.create_pipe(Name=name, RoleArn=role, Source=source.arn, Target=target, **settings)
        names.append(name)

    yield create
    for name in names:
        pipes.delete_pipe(Name=name)


def test_a_pipe_starts_an_execution_with_a_batch_of_messages(
    emulator: Emulator, machine: str, pipe: Callable[..., None]
) -> None:
    queue = emulator.queue()
    queue.send('{"sql": "SELECT 1", "skip": false}')
    queue.send('{"sql": "SELECT 2", "skip": true}')
    pipe(
        queue,
        SourceParameters={
            "SqsQueueParameters": {"BatchSize": 5},
            "FilterCriteria": {"Filters": [{"Pattern": '{"body": {"skip": [false]}}'}]},
        },
        TargetParameters={
            "InputTemplate": '{"QueryString": <$.body.sql>, "Message": "id <$.messageId>"}',
            "StepFunctionStateMachineParameters": {"InvocationType": "FIRE_AND_FORGET"},
        },
    )

    stepfunctions = emulator.client("stepfunctions")
    (execution,) = wait_until(lambda: stepfunctions.list_executions(stateMachineArn=machine)["executions"])

    described = stepfunctions.describe_execution(executionArn=execution["executionArn"])
    (record,) = json.loads(described["input"])
    assert record["QueryString"] == "SELECT 1"
    assert record["Message"].startswith("id ")
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = emulator.client("sqs").get_queue_attributes(QueueUrl=queue.url, AttributeNames=attributes)
    assert set(counts["Attributes"].values()) == {"0"}


def test_a_pipe_without_a_template_passes_the_records(
    emulator: Emulator, machine: str, pipe: Callable[..., None]
) -> None:
    queue = emulator.queue()
    queue.send("text")
    pipe(queue, SourceParameters={"SqsQueueParameters": {"BatchSize": 1}})

    stepfunctions = emulator.client("stepfunctions")
    (execution,) = wait_until(lambda: stepfunctions.list_executions(stateMachineArn=machine)["executions"])

    described = stepfunctions.describe_execution(executionArn=execution["executionArn"])
    (record,) = json.loads(described["input"])
    assert (record["body"], record["eventSource"]) == ("text", "aws:sqs")


def test_a_batch_that_cannot_be_delivered_becomes_a_dead_letter(
    emulator: Emulator, machine: str, pipe: Callable[..., None]
) -> None:
    dead_letters, queue = emulator.queue(), emulator.queue()
    emulator.client("sqs").set_queue_attributes(
        QueueUrl=queue.url,
        Attributes={
            "VisibilityTimeout": "0",
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead_letters.arn, "maxReceiveCount": 2}),
        },
    )
    pipe(queue)
    emulator.client("stepfunctions").delete_state_machine(stateMachineArn=machine)

    queue.send("lost")

    assert wait_until(dead_letters.receive) == ["lost"]


def test_a_pipe_has_the_permissions_of_its_role(
    emulator: Emulator, machine: str, pipe: Callable[..., None]
) -> None:
    dead_letters, queue = emulator.queue(), emulator.queue()
    policy = json.dumps({"deadLetterTargetArn": dead_letters.arn, "maxReceiveCount": 1})
    emulator.client("sqs").set_queue_attributes(
        QueueUrl=queue.url, Attributes={"VisibilityTimeout": "0", "RedrivePolicy": policy}
    )
    actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    pipe(queue, RoleArn=emulator.role_with({"Action": actions, "Resource": queue.arn}))

    queue.send("refused")

    assert wait_until(dead_letters.receive) == ["refused"]
    assert inputs(emulator, machine) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"Target": "arn:aws:lambda:us-east-1:000000000000:function:f"},
        {"Enrichment": "arn:aws:lambda:us-east-1:000000000000:function:f"},
        {"TargetParameters": {"StepFunctionStateMachineParameters": {"InvocationType": "REQUEST_RESPONSE"}}},
    ],
)
def test_a_pipe_that_would_do_nothing_is_refused(
    emulator: Emulator, pipe: Callable[..., None], settings: dict[str, Any]
) -> None:
    with pytest.raises(ClientError, match="the local stack has no pipes"):
        pipe(emulator.queue(), **settings)
