"""Updates of the stack while executions are in flight: from the previous release to this one, and back."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra import template as plain
from local.stack import Stack
from tests.end_to_end import release
from tests.end_to_end.conftest import Deployment, Eventually, delete_stack

BUCKET = "releases"
COUNT = {"QueryString": "SELECT count(*) AS flights FROM flights"}


class Releases:
    """Deploys one release or the other to a stack of its own, with CloudFormation alone."""

    def __init__(self, deployed: Stack, eventually: Eventually, current: Path) -> None:
        self._deployed = deployed
        self._eventually = eventually
        self._cloudformation = deployed.client("cloudformation")
        self._s3 = deployed.client("s3")
        self._folders = {"previous": release.FOLDER, "current": current}
        self._s3.create_bucket(Bucket=BUCKET)
        for name, folder in self._folders.items():
            for file in (plain.TEMPLATE, plain.ARCHIVE):
                self._s3.upload_file(str(folder / file), BUCKET, f"{name}/{file}")

    def create(self, name: str) -> Deployment:
        self._cloudformation.create_stack(**self._request(name))
        return Deployment(stack=self._stack("CREATE_COMPLETE"))

    def update(self, name: str) -> None:
        self._cloudformation.update_stack(**self._request(name))
        self._stack("UPDATE_COMPLETE")

    def expected_hash(self, name: str) -> str:
        """What Lambda reports for a function with the release's code."""
        digest = hashlib.sha256((self._folders[name] / plain.ARCHIVE).read_bytes()).digest()
        return base64.b64encode(digest).decode()

    def code_hash(self, deployment: Deployment, name: str) -> str:
        function = deployment.stack.outputs[f"{name}FunctionName"]
        answer = self._deployed.client("lambda").get_function_configuration(FunctionName=function)
        code: str = answer["CodeSha256"]
        return code

    def _request(self, name: str) -> dict[str, Any]:
        place = {"CodeBucket": BUCKET, "CodeKey": f"{name}/{plain.ARCHIVE}"}
        return {
            "StackName": release.STACK_NAME,
            "TemplateURL": f"{self._deployed.endpoint}/{BUCKET}/{name}/{plain.TEMPLATE}",
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in place.items()],
            "Capabilities": ["CAPABILITY_IAM"],
        }

    def _stack(self, status: str) -> Stack:
        """The stack once it has the status."""

        def described() -> dict[str, Any] | None:
            answer = self._cloudformation.describe_stacks(StackName=release.STACK_NAME)
            stack: dict[str, Any] = answer["Stacks"][0]
            assert "ROLLBACK" not in stack["StackStatus"], stack
            return stack if stack["StackStatus"] == status else None

        outputs = self._eventually(described)["Outputs"]
        return Stack(
            name=release.STACK_NAME,
            port=self._deployed.port,
            pid=self._deployed.pid,
            home=self._deployed.home,
            outputs={one["OutputKey"]: one["OutputValue"] for one in outputs},
        )


@pytest.fixture(scope="module")
def current(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("current")
    release.write(folder)
    return folder


@pytest.fixture
def releases(deployed: Stack, eventually: Eventually, current: Path) -> Iterator[Releases]:
    yield Releases(deployed, eventually, current)
    deployed.end_outage()
    deployed.deliver_events("normal")
    delete_stack(deployed, release.STACK_NAME)


def state(deployment: Deployment, execution_arn: str) -> str:
    """The state that the execution has entered last."""
    history = deployment.client("stepfunctions").get_execution_history(
        executionArn=execution_arn, maxResults=1000
    )
    entered = [event for event in history["events"] if "stateEnteredEventDetails" in event]
    name: str = entered[-1]["stateEnteredEventDetails"]["name"] if entered else ""
    return name


@dataclass(frozen=True, kw_only=True)
class InFlight:
    """The ARN of an execution of each kind, by what it waits for."""

    back_off: str
    poll: str
    event: str
    query: str


def start_all(deployment: Deployment, eventually: Eventually) -> InFlight:
    """Return when all of them wait. Completion events are held back, and polls fail, until `release_all`."""
    stack = deployment.stack
    stack.inject_athena_error("TRANSIENT")
    back_off = deployment.start(COUNT)
    eventually(lambda: state(deployment, back_off) == "Back off")
    stack.deliver_events("held")
    stack.outage("athena:GetQueryExecution", "InternalServerException")
    # Its deadline ends the callback window early, after which it polls.
    poll = deployment.start({**COUNT, "TimeoutSeconds": 2})
    event = deployment.start(COUNT)
    query = deployment.start({"QueryString": deployment.slow_query()})
    eventually(lambda: state(deployment, poll) in {"Get query status", "Wait"})
    eventually(lambda: deployment.queries_of(event) and deployment.queries_of(query))
    assert [state(deployment, one) for one in (event, query)] == ["Start query"] * 2
    return InFlight(back_off=back_off, poll=poll, event=event, query=query)


def release_all(deployment: Deployment) -> None:
    deployment.stack.end_outage()
    deployment.stack.deliver_events("normal")


@pytest.mark.parametrize(
    ("before", "after"), [("previous", "current"), ("current", "previous")], ids=["upgrade", "rollback"]
)
def test_executions_in_flight_end_right(
    releases: Releases, eventually: Eventually, before: str, after: str
) -> None:
    deployment = releases.create(before)
    waiting = start_all(deployment, eventually)

    releases.update(after)

    for name in ("Executor", "Checker", "Canceller"):
        assert releases.code_hash(deployment, name) == releases.expected_hash(after)
    release_all(deployment)
    deployment.client("stepfunctions").stop_execution(executionArn=waiting.query)
    outcomes = {
        arn: deployment.ended(arn, eventually)["status"]
        for arn in (waiting.back_off, waiting.poll, waiting.event)
    }
    assert set(outcomes.values()) == {"SUCCEEDED"}
    # The release that did not start the query stops it.
    eventually(lambda: deployment.ended_queries(waiting.query))
    assert len(deployment.queries_of(waiting.back_off)) == 2
    for arn in (waiting.poll, waiting.event):
        assert len(deployment.queries_of(arn)) == 1
    assert deployment.dead_letters() == []
    alias = deployment.stack.outputs["StateMachineAliasArn"]
    assert deployment.run(COUNT, state_machine_arn=alias).status == "SUCCEEDED"


def test_a_query_in_flight_outlives_its_stack(
    releases: Releases, deployed: Stack, eventually: Eventually
) -> None:
    deployment = releases.create("current")
    execution = deployment.start({"QueryString": deployment.slow_query()})
    eventually(lambda: deployment.queries_of(execution))
    [query_id] = deployment.queries_of(execution)

    delete_stack(deployed, release.STACK_NAME)

    athena, stepfunctions = deployed.client("athena"), deployed.client("stepfunctions")
    answer = athena.get_query_execution(QueryExecutionId=query_id)
    assert answer["QueryExecution"]["Status"]["State"] in {"QUEUED", "RUNNING"}
    assert stepfunctions.describe_execution(executionArn=execution)["status"] == "RUNNING"
    stepfunctions.stop_execution(executionArn=execution)
    athena.stop_query_execution(QueryExecutionId=query_id)
