"""Each example, deployed beside the main stack and driven by its own trigger."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from local import sample_data
from local.stack import Stack
from tests import examples
from tests.contract import check_cause, check_output
from tests.end_to_end.conftest import Deployment, Eventually, delete_stack

CONTEXT: Mapping[str, Mapping[str, str]] = {
    "event": {"bucketName": sample_data.ARRIVALS, "database": sample_data.SCRATCH},
    "state_machine": {"retrySeconds": "1"},
}
NAMES = ("event", "message", "schedule", "state_machine")

Outputs = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def outputs(deployed: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outputs]:
    """The outputs of each example's stack."""
    cloudformation = deployed.client("cloudformation")
    for name in NAMES:
        template = examples.synthesize(name, CONTEXT.get(name, {}), tmp_path_factory.mktemp(name))
        cloudformation.create_stack(
            StackName=stack_name(name), TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"]
        )
        waiter = cloudformation.get_waiter("stack_create_complete")
        waiter.wait(StackName=stack_name(name), WaiterConfig={"Delay": 1})
    described = {
        name: cloudformation.describe_stacks(StackName=stack_name(name))["Stacks"][0] for name in NAMES
    }
    yield {
        name: {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
        for name, stack in described.items()
    }
    for name in NAMES:
        delete_stack(deployed, stack_name(name))


def stack_name(example: str) -> str:
    return f"Example-{example.replace('_', '-')}"


class Queries:
    """The main stack's executions since the test began, and the messages of an example's queue."""

    def __init__(self, deployment: Deployment, eventually: Eventually) -> None:
        self.deployment = deployment
        self._eventually = eventually
        self._arn = deployment.stack.outputs["StateMachineArn"]
        self._since = datetime.now(UTC).replace(microsecond=0)

    def named(self, name: str) -> dict[str, Any]:
        """DescribeExecution's response for the execution of this name, once it has ended."""
        return self._first(lambda one: one["name"] == name)

    def with_parameter(self, text: str) -> dict[str, Any]:
        """Likewise for the execution with this parameter."""
        return self._first(lambda one: f"'{text}'" in one["input"])

    def inputs(self) -> list[str]:
        return [self._describe(one)["input"] for one in self._list()]

    def rows(self, execution: dict[str, Any]) -> list[str]:
        """The lines of the result, without their quotes and the header."""
        output = json.loads(execution["output"])
        check_output(output)
        bucket, _, key = output["OutputLocation"].removeprefix("s3://").partition("/")
        answer = self.deployment.client("s3").get_object(Bucket=bucket, Key=key)
        body: str = answer["Body"].read().decode()
        return body.replace('"', "").splitlines()[1:]

    def message(self, queue_url: str) -> dict[str, Any]:
        """Receive and delete one message."""
        sqs = self.deployment.client("sqs")
        message = self._eventually(lambda: sqs.receive_message(QueueUrl=queue_url).get("Messages"))[0]
        sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        body: dict[str, Any] = json.loads(message["Body"])
        return body

    def _first(self, matches: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for an ended execution that matches."""
        found: dict[str, Any] = self._eventually(lambda: next(filter(matches, self._ended()), None))
        return found

    def _ended(self) -> Iterator[dict[str, Any]]:
        return (self._describe(one) for one in self._list() if one["status"] != "RUNNING")

    def _list(self) -> list[dict[str, Any]]:
        stepfunctions = self.deployment.client("stepfunctions")
        pages = stepfunctions.get_paginator("list_executions").paginate(stateMachineArn=self._arn)
        return [one for page in pages for one in page["executions"] if one["startDate"] >= self._since]

    def _describe(self, execution: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self.deployment.client("stepfunctions").describe_execution(
            executionArn=execution["executionArn"]
        )
        return answer


@pytest.fixture
def queries(deployment: Deployment, eventually: Eventually) -> Queries:
    return Queries(deployment, eventually)


def test_every_example_with_an_app_is_tested() -> None:
    assert tuple(examples.names()) == NAMES


@pytest.mark.parametrize("example", NAMES)
def test_an_example_may_start_this_state_machine_and_no_other(
    deployment: Deployment, outputs: Outputs, example: str
) -> None:
    """What IAM, which is enforced here, decides for the roles of the example."""
    assert example in outputs
    iam, ours = deployment.client("iam"), deployment.stack.outputs["StateMachineArn"]
    resources = deployment.client("cloudformation").describe_stack_resources(StackName=stack_name(example))
    by_type: dict[str, list[str]] = {}
    for one in resources["StackResources"]:
        by_type.setdefault(one["ResourceType"], []).append(one["PhysicalResourceId"])
    callers = 0
    for role in by_type["AWS::IAM::Role"]:
        arn = iam.get_role(RoleName=role)["Role"]["Arn"]

        def decision(action: str, resource: str, role_arn: str = arn) -> str:
            answer = iam.simulate_principal_policy(
                PolicySourceArn=role_arn, ActionNames=[f"states:{action}"], ResourceArns=[resource]
            )
            return str(answer["EvaluationResults"][0]["EvalDecision"])

        callers += decision("StartExecution", ours) == "allowed"
        assert decision("StartExecution", f"{ours}-other") == "implicitDeny"
        for action in ("UpdateStateMachine", "DeleteStateMachine", "SendTaskSuccess", "ListExecutions"):
            assert decision(action, ours) == "implicitDeny"
    assert callers == 1


@contextlib.contextmanager
def denied(deployment: Deployment, example: str, role: str) -> Iterator[None]:
    """The example's role of this construct may not start executions."""
    resources = deployment.client("cloudformation").describe_stack_resources(StackName=stack_name(example))
    (name,) = (
        one["PhysicalResourceId"]
        for one in resources["StackResources"]
        if one["ResourceType"] == "AWS::IAM::Role" and one["LogicalResourceId"].startswith(role)
    )
    iam, policy = deployment.client("iam"), {"RoleName": name, "PolicyName": "deny"}
    deny = {"Effect": "Deny", "Action": "states:StartExecution", "Resource": "*"}
    iam.put_role_policy(**policy, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    try:
        yield
    finally:
        iam.delete_role_policy(**policy)


def test_without_its_permission_a_caller_starts_nothing(
    deployment: Deployment, outputs: Outputs, queries: Queries
) -> None:
    with denied(deployment, "event", "QueriesEventsRole"):
        path = put_object(deployment, outputs, "2013/denied.csv", "2013-01-01")
        undelivered = queries.message(outputs["event"]["FailuresQueueUrl"])
    with denied(deployment, "state_machine", "ReportRole"):
        run = report_of(deployment, outputs, {"QueryString": "SELECT 1"})

    assert undelivered["detail"]["object"]["key"] == "2013/denied.csv"
    assert not [one for one in queries.inputs() if path in one]
    assert run.error == "StepFunctions.AccessDeniedException"


def test_a_scheduled_time_is_a_parameter_and_runs_once(
    deployment: Deployment, outputs: Outputs, queries: Queries
) -> None:
    schedule, time = outputs["schedule"]["ScheduleName"], "2013-01-15T06:00:00Z"

    deployment.stack.invoke_schedule(schedule, time)
    execution = queries.named("daily-carriers-2013-01-15T06-00-00Z")
    deployment.stack.invoke_schedule(schedule, time)

    counted = deployment.run(
        {
            "QueryString": "SELECT count(*) FROM flights WHERE date(time_hour) = DATE '2013-01-14'",
            "PreviewRows": 1,
        }
    )
    assert counted.output is not None
    ((flights,),) = counted.output["Preview"]["Rows"]
    assert sum(int(row.split(",")[1]) for row in queries.rows(execution)) == int(flights) > 0
    assert sum(time in one for one in queries.inputs()) == 1


def test_a_scheduled_query_that_fails_is_reported(
    deployment: Deployment, outputs: Outputs, queries: Queries
) -> None:
    for _ in range(2):
        deployment.stack.inject_athena_error("TRANSIENT")

    deployment.stack.invoke_schedule(outputs["schedule"]["ScheduleName"], "2013-02-01T06:00:00Z")

    report = queries.message(outputs["schedule"]["FailuresQueueUrl"])
    assert (report["status"], report["error"]) == ("FAILED", "AthenaQuery.TransientFailure")
    assert report["executionArn"].endswith(":daily-carriers-2013-02-01T06-00-00Z")


def test_a_scheduled_query_that_cannot_be_started_is_reported(
    deployment: Deployment, outputs: Outputs, queries: Queries
) -> None:
    deployment.client("stepfunctions").start_execution(
        stateMachineArn=starter(deployment, "schedule"), input=json.dumps({"ScheduledTime": 6})
    )

    report = queries.message(outputs["schedule"]["FailuresQueueUrl"])
    assert (report["status"], report["error"]) == ("FAILED", "States.QueryEvaluationError")


def starter(deployment: Deployment, example: str) -> str:
    """The ARN of the example's own state machine."""
    resources = deployment.client("cloudformation").describe_stack_resources(StackName=stack_name(example))
    (arn,) = (
        one["PhysicalResourceId"]
        for one in resources["StackResources"]
        if one["ResourceType"] == "AWS::StepFunctions::StateMachine"
    )
    return str(arn)


def put_object(deployment: Deployment, outputs: Outputs, key: str, *days: str) -> str:
    """Store an object of the event example; return its URI."""
    bucket = outputs["event"]["BucketName"]
    body = "".join(f"{day},{number}\n" for number, day in enumerate(days))
    deployment.client("s3").put_object(Bucket=bucket, Key=key, Body=body.encode())
    return f"s3://{bucket}/{key}"


def test_an_object_that_arrives_is_queried(
    deployment: Deployment, outputs: Outputs, queries: Queries
) -> None:
    put_object(deployment, outputs, "2013/it's.csv", "2013-01-09")
    path = put_object(deployment, outputs, "2013/january.csv", "2013-01-01", "2013-01-02")

    execution = queries.with_parameter(path)

    assert queries.rows(execution) == ["2,2013-01-02"]
    assert not [one for one in queries.inputs() if "it's.csv" in one]


def test_an_object_whose_query_fails_is_reported(
    deployment: Deployment, outputs: Outputs, queries: Queries
) -> None:
    path = put_object(deployment, outputs, "2013/february.csv", "2013-02-30")

    report = queries.message(outputs["event"]["FailuresQueueUrl"])

    assert (report["status"], report["error"]) == ("FAILED", "AthenaQuery.Failed")
    assert report["executionArn"] == queries.with_parameter(path)["executionArn"]


def send(deployment: Deployment, outputs: Outputs, body: str) -> str:
    """Send a message of the message example; return its id."""
    sent = deployment.client("sqs").send_message(QueueUrl=outputs["message"]["QueueUrl"], MessageBody=body)
    return str(sent["MessageId"])


def test_a_message_is_the_input_of_a_query(
    deployment: Deployment, outputs: Outputs, queries: Queries
) -> None:
    message_id = send(deployment, outputs, json.dumps({"QueryString": "SELECT count(*) FROM airlines"}))

    assert queries.rows(queries.named(f"message-{message_id}")) == ["16"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"QueryString": "SELECT 1", "Timeout": 60}, "AthenaQuery.InvalidInput"),
        ({"QueryString": "SELECT CAST(carrier AS integer) FROM airlines"}, "AthenaQuery.Failed"),
    ],
)
def test_a_message_whose_query_does_not_succeed_is_a_dead_letter(
    deployment: Deployment, outputs: Outputs, queries: Queries, body: dict[str, Any], error: str
) -> None:
    message_id = send(deployment, outputs, json.dumps(body))

    letter = queries.message(outputs["message"]["DeadLetterQueueUrl"])

    assert (letter["name"], letter["error"]) == (f"message-{message_id}", error)
    assert json.loads(letter["input"]) == body
    check_cause(json.loads(letter["cause"]))


def test_a_message_that_is_not_json_is_a_dead_letter(
    deployment: Deployment, outputs: Outputs, queries: Queries
) -> None:
    send(deployment, outputs, "SELECT 1")

    letter = queries.message(outputs["message"]["DeadLetterQueueUrl"])

    assert letter["error"] == "States.QueryEvaluationError"
    (record,) = json.loads(letter["input"])
    assert record["body"] == "SELECT 1"


def report_of(deployment: Deployment, outputs: Outputs, query: dict[str, Any]) -> Any:
    """Run the state machine example to its end."""
    return deployment.run(query, state_machine_arn=outputs["state_machine"]["StateMachineArn"])


def test_another_state_machine_uses_the_output_and_handles_each_row(
    deployment: Deployment, outputs: Outputs
) -> None:
    run = report_of(deployment, outputs, {"QueryString": "SELECT carrier, name FROM airlines"})

    assert run.states == ["Prepare", "Run query", "Summarize", "For each row"]
    assert run.output["Rows"] == 16
    assert deployment.query(run.output["QueryId"])["Status"]["State"] == "SUCCEEDED"
    stepfunctions = deployment.client("stepfunctions")
    (map_run,) = stepfunctions.list_map_runs(executionArn=run.arn)["mapRuns"]
    children = stepfunctions.list_executions(mapRunArn=map_run["mapRunArn"])["executions"]
    handled = [
        json.loads(stepfunctions.describe_execution(executionArn=one["executionArn"])["output"])
        for one in children
    ]
    assert len(handled) == 16
    assert {"Handled": {"carrier": "UA", "name": "United Air Lines Inc."}} in handled


def test_another_state_machine_starts_the_query_again_after_a_transient_failure(
    deployment: Deployment, outputs: Outputs
) -> None:
    for _ in range(2):
        deployment.stack.inject_athena_error("TRANSIENT")

    run = report_of(deployment, outputs, {"QueryString": "SELECT count(*) FROM airlines"})

    assert run.states == [
        *("Prepare", "Run query", "Check error", "Wait for capacity"),
        *("Run query", "Summarize", "For each row"),
    ]
    assert run.status == "SUCCEEDED"


def test_another_state_machine_explains_a_failed_query(deployment: Deployment, outputs: Outputs) -> None:
    run = report_of(deployment, outputs, {"QueryString": "SELECT nothing FROM airlines"})

    assert run.states[-3:] == ["Check error", "Explain failure", "Query failed"]
    assert (run.status, run.error) == ("FAILED", "AthenaQuery.Failed")
    assert set(run.cause) == {"QueryId", "Reason", "Advice"}
    assert "nothing" in run.cause["Reason"]


def test_another_state_machine_gives_up_on_invalid_input(deployment: Deployment, outputs: Outputs) -> None:
    run = report_of(deployment, outputs, {"QueryString": "SELECT 1", "TimeoutSeconds": "60"})

    assert run.states[-2:] == ["Check error", "Give up"]
    assert run.error == "AthenaQuery.InvalidInput"
    check_cause(run.cause)
