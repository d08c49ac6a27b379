"""The emulator alone: one process for the tier, without the project's stack."""

import io
import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from local import environment
from local.stack import ROOT, _free_port

ROLE = "test"
ENVIRONMENTS = 4
RETURNS_ITS_INPUT = "def handler(event, context):\n    return event\n"
_OPTIONS = ["--environments", str(ENVIRONMENTS), "--async-retry-seconds", "0.01"]


@dataclass(frozen=True)
class Emulator:
    """A running emulator, and its clients by service."""

    endpoint: str
    environments = ENVIRONMENTS
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = environment.client(self.endpoint, service)
        return self._clients[service]

    def role(self) -> str:
        """The ARN of a role that may do everything."""
        iam = self.client("iam")
        try:
            return str(iam.get_role(RoleName=ROLE)["Role"]["Arn"])
        except iam.exceptions.NoSuchEntityException:
            return self.role_with({"Action": "*", "Resource": "*"}, name=ROLE)

    def role_with(self, *allowed: dict[str, Any], name: str = "") -> str:
        """The ARN of a new role that services may assume, and what its statements allow."""
        iam, name = self.client("iam"), name or f"role-{uuid.uuid4()}"
        services = ["lambda.amazonaws.com", "states.amazonaws.com", "events.amazonaws.com"]
        trust = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
        statements = [{"Effect": "Allow", **one} for one in allowed]
        if statements:
            iam.put_role_policy(
                RoleName=name, PolicyName="allowed", PolicyDocument=json.dumps({"Statement": statements})
            )
        return str(role["Role"]["Arn"])

    def client_of(self, *actions: str) -> Callable[[str], Any]:
        """Makes clients with the permissions of a new role that may do this."""
        name = f"role-{uuid.uuid4()}"
        trust = {"Effect": "Allow", "Principal": {"AWS": environment.ACCOUNT}, "Action": "sts:AssumeRole"}
        allowed = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        iam = self.client("iam")
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
        iam.put_role_policy(
            RoleName=name, PolicyName="allowed", PolicyDocument=json.dumps({"Statement": [allowed]})
        )
        answer = self.client("sts").assume_role(RoleArn=role["Role"]["Arn"], RoleSessionName="test")
        session = boto3.Session(
            aws_access_key_id=answer["Credentials"]["AccessKeyId"],
            aws_secret_access_key=answer["Credentials"]["SecretAccessKey"],
            aws_session_token=answer["Credentials"]["SessionToken"],
            region_name=environment.REGION,
        )
        return lambda service: session.client(service, endpoint_url=self.endpoint)  # type: ignore[call-overload]

    def queue(self) -> "Queue":
        """A new SQS queue."""
        sqs = self.client("sqs")
        url = sqs.create_queue(QueueName=f"queue-{uuid.uuid4()}")["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        return Queue(sqs, url, attributes["QueueArn"])

    def metric_sum(self, namespace: str, name: str, **dimensions: str) -> float:
        """The sum of a metric's points."""
        now = datetime.now(UTC)
        points = self.client("cloudwatch").get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=1),
            Period=7200,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))

    def status(self) -> dict[str, Any]:
        """What the emulator reports of itself."""
        with urllib.request.urlopen(f"{self.endpoint}/_local/status", timeout=10) as answer:  # noqa: S310 - this machine
            status: dict[str, Any] = json.load(answer)
            return status

    def control(self, path: str, **parameters: Any) -> None:
        """Call the emulator's own API."""
        request = urllib.request.Request(  # noqa: S310 - this machine
            f"{self.endpoint}/_local/{path}", data=json.dumps(parameters).encode(), method="PUT"
        )
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - this machine


@dataclass(frozen=True)
class Queue:
    """An SQS queue."""

    client: Any
    url: str
    arn: str

    def send(self, body: str) -> None:
        self.client.send_message(QueueUrl=self.url, MessageBody=body)

    def receive(self) -> list[str]:
        """Receive and delete the messages that are visible."""
        messages = self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return [message["Body"] for message in messages]


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    home = tmp_path_factory.mktemp("emulator")
    port = _free_port()
    with (home / "emulator.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - this interpreter
            [
                *(sys.executable, "-m", "local.emulator", "--port", str(port), "--home", str(home)),
                *("--parent", str(os.getpid()), *_OPTIONS),
            ],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    emulator = Emulator(f"http://127.0.0.1:{port}")
    try:
        wait_until(lambda: answers(emulator))
        yield emulator
    finally:
        process.terminate()
        process.wait(timeout=30)


def answers(emulator: Emulator) -> bool:
    """Whether the emulator is there."""
    try:
        emulator.status()
    except OSError:
        return False
    return True


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Call `condition` until it returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.02)
    pytest.fail(f"not within {seconds} s")


def zipped(source: str) -> bytes:
    """A deployment package with one module, `function`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("function.py", source)
    return buffer.getvalue()


@pytest.fixture
def function(emulator: Emulator, request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """Creates Lambda functions from Python source and returns their ARNs; deletes them after the test."""
    names: list[str] = []

    def create(source: str, **settings: Any) -> str:
        name = f"{request.node.originalname[:50]}-{len(names)}"
        created = emulator.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.13",
            Handler="function.handler",
            Code={"ZipFile": zipped(source)},
            # A function starts slowly on a busy machine; the default is 3 seconds.
            **{"Role": emulator.role(), "Timeout": 60, **settings},
        )
        names.append(name)
        return str(created["FunctionArn"])

    yield create
    for name in names:
        emulator.client("lambda").delete_function(FunctionName=name)


class Machines:
    """Creates state machines and runs executions of them."""

    def __init__(self, emulator: Emulator) -> None:
        self.client = emulator.client("stepfunctions")
        self.role = emulator.role()

    def create(self, definition: dict[str, Any], role: str | None = None) -> str:
        answer = self.client.create_state_machine(
            name=f"machine-{uuid.uuid4()}",
            roleArn=role or self.role,
            definition=json.dumps({"QueryLanguage": "JSONata", **definition}),
        )
        return str(answer["stateMachineArn"])

    def of_one(self, **state: Any) -> str:
        """A state machine with one state."""
        fields = {name: value for name, value in {"End": True, **state}.items() if value is not None}
        return self.create({"StartAt": "Only", "States": {"Only": fields}})

    def start(self, arn: str, document: Any = None, **parameters: Any) -> str:
        answer = self.client.start_execution(
            stateMachineArn=arn, input=json.dumps({} if document is None else document), **parameters
        )
        return str(answer["executionArn"])

    def describe(self, execution_arn: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.describe_execution(executionArn=execution_arn)
        del answer["ResponseMetadata"]
        return answer

    def ended(self, execution_arn: str, seconds: float = 60) -> dict[str, Any]:
        """DescribeExecution's answer, once the execution has ended."""
        wait_until(lambda: self.describe(execution_arn)["status"] != "RUNNING", seconds)
        return self.describe(execution_arn)

    def run(self, arn: str, document: Any = None) -> dict[str, Any]:
        return self.ended(self.start(arn, document))

    def executions(self, machine_arn: str, **filters: str) -> list[dict[str, Any]]:
        answer = self.client.list_executions(stateMachineArn=machine_arn, **filters)
        return list(answer["executions"])

    def history(self, execution_arn: str) -> list[str]:
        """The types of the execution's events."""
        answer = self.client.get_execution_history(executionArn=execution_arn, maxResults=1000)
        return [event["type"] for event in answer["events"]]

    def details(self, execution_arn: str, kind: str) -> list[dict[str, Any]]:
        """The details of the execution's events of one type."""
        answer = self.client.get_execution_history(executionArn=execution_arn, maxResults=1000)
        name = f"{kind[0].lower()}{kind[1:]}EventDetails"
        return [event[name] for event in answer["events"] if event["type"] == kind]

    def token(self, execution_arn: str) -> str:
        """The task token of the latest callback that the execution has asked for."""
        arguments = json.loads(self.details(execution_arn, "TaskScheduled")[-1]["parameters"])
        return str(arguments["Payload"]["Token"])


@pytest.fixture
def machines(emulator: Emulator) -> Machines:
    return Machines(emulator)


@pytest.fixture
def callback(function: Callable[..., str]) -> dict[str, Any]:
    """A state that waits for a callback."""
    arn = function(RETURNS_ITS_INPUT)
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "Arguments": {"FunctionName": arn, "Payload": {"Token": "{% $states.context.Task.Token %}"}},
    }


def waiting(machines: Machines, execution_arn: str) -> str:
    """Wait until the execution waits for its callback."""
    wait_until(lambda: machines.history(execution_arn)[-1] == "TaskSubmitted")
    return execution_arn
