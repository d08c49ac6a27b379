"""One stack for the whole tier, deployed from the real template; everything else is plain boto3."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from functions.metric_names import METRICS_NAMESPACE
from functions.task_table import STARTED
from local import stack as local_stack
from local.environment import aws_variables
from local.stack import Stack
from ops.execution import Run, follow, start
from tests.end_to_end import exposures


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A separate folder, so that a developer's stack is not touched; what is slow to create is shared."""
    return local_stack.share(tmp_path_factory.mktemp("stack"))


@pytest.fixture(scope="session")
def deployed(home: Path) -> Iterator[Stack]:
    """At the end of the run, no secret of any test may be in what left the functions."""
    record = home / exposures.FILE
    record.touch()
    started = local_stack.up(home=home, emulator_options=("--record", str(record)))
    yield started
    records = exposures.read(record)
    metrics = started.client("cloudwatch").get_paginator("list_metrics").paginate()
    records += [("metric", json.dumps(metric)) for page in metrics for metric in page["Metrics"]]
    local_stack.down(home)
    assert exposures.find_exposures(records) == []


def delete_stack(deployed: Stack, name: str) -> None:
    """Delete another stack from the emulator of `deployed`."""
    cloudformation = deployed.client("cloudformation")
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})


def policy(**statement: Any) -> str:
    """A policy document that allows one thing."""
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The deployed stack, its clients, and what tests read from them."""

    stack: Stack
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = self.stack.client(service)
        return self.clients[service]

    def run(self, document: Any, *, state_machine_arn: str | None = None) -> Run:
        """Start an execution and wait for its end."""
        arn = state_machine_arn or self.stack.outputs["StateMachineArn"]
        stepfunctions = self.client("stepfunctions")
        return follow(stepfunctions, start(stepfunctions, arn, document))

    def start(self, document: Any) -> str:
        """Start an execution and return its ARN."""
        return start(self.client("stepfunctions"), self.stack.outputs["StateMachineArn"], document)

    def caller(self, name: str, definition: Mapping[str, Any]) -> str:
        """Create a state machine that may run nested executions, and return its ARN."""
        iam, trust = self.client("iam"), {"Service": "states.amazonaws.com"}
        role = iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=policy(Action="sts:AssumeRole", Principal=trust),
        )["Role"]
        actions = [
            *("states:StartExecution", "states:DescribeExecution", "states:StopExecution"),
            *("events:PutTargets", "events:PutRule", "events:DescribeRule"),
        ]
        iam.put_role_policy(
            RoleName=name, PolicyName="call", PolicyDocument=policy(Action=actions, Resource="*")
        )
        arn: str = self.client("stepfunctions").create_state_machine(
            name=name, definition=json.dumps(definition), roleArn=role["Arn"]
        )["stateMachineArn"]
        return arn

    def slow_query(self) -> str:
        """SQL that runs much longer than any test waits, and can be interrupted."""
        return (
            "SELECT count(*) FROM flights a, flights b, flights c WHERE a.dep_time + b.dep_time > c.dep_time"
        )

    def query_ids(self) -> set[str]:
        """Every query of the stack's workgroup."""
        answer = self.client("athena").list_query_executions(WorkGroup=self.stack.outputs["WorkGroupName"])
        return set(answer["QueryExecutionIds"])

    def queries_of(self, execution_arn: str) -> list[str]:
        """The queries that the execution has registered in the task table."""
        item = self.client("dynamodb").get_item(
            TableName=self.stack.outputs["TaskTableName"],
            Key={"Id": {"S": execution_arn}},
            ConsistentRead=True,
        )
        attributes = item.get("Item", {})
        return [value["M"]["QueryId"]["S"] for name, value in attributes.items() if name.startswith(STARTED)]

    def running_queries(self, execution_arn: str) -> list[str]:
        ids = self.queries_of(execution_arn)
        return [one for one in ids if self.query(one)["Status"]["State"] == "RUNNING"]

    def ended_queries(self, execution_arn: str) -> list[str]:
        ids = self.queries_of(execution_arn)
        return [one for one in ids if "CompletionDateTime" in self.query(one)["Status"]]

    def ended(self, execution_arn: str, eventually: "Eventually") -> dict[str, Any]:
        """The response of DescribeExecution once the execution has ended."""

        def described() -> dict[str, Any] | None:
            answer: dict[str, Any] = self.client("stepfunctions").describe_execution(
                executionArn=execution_arn
            )
            return answer if answer["status"] != "RUNNING" else None

        answer: dict[str, Any] = eventually(described)
        return answer

    def log_lines(self) -> list[str]:
        """Everything in every log group."""
        logs = self.client("logs")
        groups = [one["logGroupName"] for one in logs.describe_log_groups()["logGroups"]]
        pages = [logs.get_paginator("filter_log_events").paginate(logGroupName=group) for group in groups]
        return [event["message"] for group in pages for page in group for event in page["events"]]

    def tokens(self) -> list[str]:
        """The task tokens in the table."""
        items = self.client("dynamodb").scan(TableName=self.stack.outputs["TaskTableName"])["Items"]
        return [item["TaskToken"]["S"] for item in items if "TaskToken" in item]

    def put_metric(self, name: str, value: float) -> None:
        """A data point as the functions would emit it."""
        dimensions = [{"Name": "service", "Value": self.stack.name}]
        point = {"MetricName": name, "Value": value, "Unit": "Milliseconds", "Dimensions": dimensions}
        self.client("cloudwatch").put_metric_data(Namespace=METRICS_NAMESPACE, MetricData=[point])

    def reported_and_actual(self, execution: dict[str, Any]) -> tuple[str, str]:
        """The outcome of an ended execution (DescribeExecution), and the state of its query in Athena."""
        if execution["status"] == "SUCCEEDED":
            reported, query_id = "SUCCEEDED", json.loads(execution["output"])["QueryId"]
        else:
            reported, query_id = execution["error"], json.loads(execution["cause"])["QueryId"]
        return reported, self.query(query_id)["Status"]["State"]

    def dead_letters(self) -> list[str]:
        """The messages in the stack's dead-letter queue."""
        answer = self.client("sqs").receive_message(
            QueueUrl=self.stack.outputs["DeadLetterQueueUrl"], MaxNumberOfMessages=10
        )
        return [message["Body"] for message in answer.get("Messages", [])]

    def query(self, query_id: str) -> dict[str, Any]:
        """The response of GetQueryExecution."""
        answer: dict[str, Any] = self.client("athena").get_query_execution(QueryExecutionId=query_id)
        execution: dict[str, Any] = answer["QueryExecution"]
        return execution


@pytest.fixture
def deployment(deployed: Stack, eventually: "Eventually") -> Iterator[Deployment]:
    yield Deployment(stack=deployed)
    deployed.deliver_events("normal")
    # A function that is still retried would consume what the next test injects.
    eventually(lambda: deployed.pending_events() == 0)


def command_environment(stack: Stack) -> dict[str, str]:
    """The environment of a command after `eval "$(python -m local up --detach)"`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return inherited | aws_variables(stack.endpoint)


@pytest.fixture
def pointed_at_the_stack(deployed: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that a test runs in its own process have that environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in aws_variables(deployed.endpoint).items():
        monkeypatch.setenv(name, value)


class Eventually(Protocol):
    """Calls a condition until it returns something true, and returns that.

    Fails the test if it does not for so many seconds, during which `progress` has not changed either.
    """

    def __call__(
        self, condition: Callable[[], Any], *, progress: Callable[[], Any] = ..., seconds: float = 60
    ) -> Any: ...


@pytest.fixture
def eventually() -> Eventually:
    def wait(
        condition: Callable[[], Any], *, progress: Callable[[], Any] = lambda: None, seconds: float = 60
    ) -> Any:
        reached, since = progress(), time.monotonic()
        while True:
            if result := condition():
                return result
            if progress() != reached:
                reached, since = progress(), time.monotonic()
            elif time.monotonic() > since + seconds:
                pytest.fail(f"not within {seconds} s")
            time.sleep(0.05)

    return wait
