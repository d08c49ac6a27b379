"""The command line of `ops`: a failure is one line and an exit code, an interruption names what runs on."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from botocore.stub import Stubber

from ops import execution
from ops.__main__ import main
from ops.deployment import Deployment
from ops.execution import Run

MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:AthenaQueries"
EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:AthenaQueries:one"
OUTPUTS = {"StateMachineArn": MACHINE, "TaskTableName": "tasks", "DashboardName": "AthenaQueries"}
AWS = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Credentials and a region, and none of the machine's own configuration."""
    for name in AWS:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


class Stack:
    """A deployed stack whose clients are stubbed, by service."""

    def __init__(self) -> None:
        self.stubs: dict[str, Stubber] = {}
        self.deployment = Deployment(
            name="AthenaQueries",
            created=datetime(2026, 1, 1, tzinfo=UTC),
            outputs=OUTPUTS,
            client=lambda service: self.stub(service).client,
        )

    def stub(self, service: str) -> Stubber:
        if service not in self.stubs:
            client = boto3.client(service, region_name="eu-west-1")  # type: ignore[call-overload]
            self.stubs[service] = Stubber(client)
            self.stubs[service].activate()
        return self.stubs[service]

    def starts(self, document: dict[str, Any]) -> None:
        self.stub("stepfunctions").add_response(
            "start_execution",
            {"executionArn": EXECUTION, "startDate": datetime(2026, 1, 1, tzinfo=UTC)},
            {"stateMachineArn": MACHINE, "input": json.dumps(document)},
        )


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    stubbed = Stack()
    monkeypatch.setattr("ops.__main__.connect", lambda *_, **__: stubbed.deployment)
    return stubbed


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert text.startswith("python -m ops: error: ")
    assert text.count("\n") == 1
    return text


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["query"],
        ["query", "SELECT 1", "--file", "x.sql"],
        ["query", "SELECT 1", "--rows", "many"],
        ["explain", "not-an-arn"],
        ["dashboard", "--out", "dashboard.txt"],
        ["dashboard", "--hours", "0"],
        ["dashboard", "--hours", "100000"],
    ],
)
def test_wrong_usage_is_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)

    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_the_help_says_how_to_point_at_an_account(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])

    text = capsys.readouterr().out
    assert "AWS_PROFILE=my-profile AWS_REGION=eu-west-1 python -m ops query" in text
    assert 'eval "$(python -m local up --detach)"' in text


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"AWS_PROFILE": "no-such-profile"}, "The config profile (no-such-profile) could not be found"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "configure AWS credentials"),
        ({"AWS_REGION": ""}, "set AWS_REGION"),
        ({"AWS_REGION": "not a region"}, "not a region"),
    ],
)
def test_an_unusable_aws_environment_is_one_line(
    variables: dict[str, str],
    message: str,
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)

    assert main(["query", "SELECT 1"]) == 3

    assert message in one_line(capsys)


@pytest.mark.usefixtures("socket_enabled")
def test_an_endpoint_that_is_down_is_one_line(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    environment.setattr("botocore.endpoint.time.sleep", lambda _: None)

    assert main(["query", "SELECT 1"]) == 3

    assert 'Could not connect to the endpoint URL: "http://127.0.0.1:1/"' in one_line(capsys)


@pytest.mark.parametrize(
    ("code", "text", "message"),
    [
        ("ValidationError", "Stack with id Nope does not exist", "there is no stack Nope in eu-west-1"),
        ("AccessDenied", "not\nauthorized", "DescribeStacks: AccessDenied: not authorized"),
        ("ExpiredToken", "The token has expired", "DescribeStacks: ExpiredToken: The token has expired"),
    ],
)
def test_a_stack_that_cannot_be_read_is_one_line(
    code: str,
    text: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stub = Stubber(boto3.client("cloudformation", region_name="eu-west-1"))
    stub.add_client_error("describe_stacks", code, text, expected_params={"StackName": "Nope"})
    monkeypatch.setattr("boto3.Session.client", lambda *_, **__: stub.client)

    with stub:
        assert main(["query", "SELECT 1", "--stack", "Nope"]) == 3

    assert message in one_line(capsys)


def test_a_stack_of_another_kind_is_one_line(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay-dead-letters"]) == 3

    assert "the stack AthenaQueries has no output ExecutorFunctionName" in one_line(capsys)
    assert not stack.stubs


def test_the_input_carries_what_the_arguments_say(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.starts({"QueryString": "SELECT ?", "Database": "sales", "ExecutionParameters": ["1"]})
    monkeypatch.setattr(
        execution, "follow", lambda *_: Run(arn=EXECUTION, status="FAILED", error="AthenaQuery.Failed")
    )

    assert main(["query", "SELECT ?", "--database", "sales", "--param", "1"]) == 1

    stack.stub("stepfunctions").assert_no_pending_responses()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff", "is not UTF-8 text"), (None, "No such file or directory"), (b"x" * 262_144, "the input has")],
)
def test_a_file_that_is_no_statement_is_refused(
    stack: Stack,
    tmp_path: Path,
    content: bytes | None,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "x.sql"
    if content:
        file.write_bytes(content)

    assert main(["query", "--file", str(file)]) == 2

    assert message in one_line(capsys)
    assert stack.deployment.name


def test_a_result_file_that_cannot_be_written_is_refused_before_the_query_runs(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["query", "SELECT 1", "--csv", str(tmp_path / "none" / "x.csv")]) == 2

    assert "is not a directory" in one_line(capsys)
    assert not stack.stubs


def raise_(error: BaseException) -> Any:
    def follow(*_: Any) -> Run:
        raise error

    return follow


def test_an_interruption_says_that_the_execution_goes_on(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.starts({"QueryString": "SELECT 1"})
    monkeypatch.setattr(execution, "follow", raise_(KeyboardInterrupt()))

    assert main(["query", "SELECT 1"]) == 130

    assert f"the execution goes on; stop it with `python -m ops stop {EXECUTION}`" in capsys.readouterr().err


def test_an_interruption_stops_the_execution_on_request(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.starts({"QueryString": "SELECT 1"})
    stack.stub("stepfunctions").add_response(
        "stop_execution",
        {"stopDate": datetime(2026, 1, 1, tzinfo=UTC)},
        {"executionArn": EXECUTION, "cause": "Stopped by the user"},
    )
    monkeypatch.setattr(execution, "follow", raise_(KeyboardInterrupt()))

    assert main(["query", "SELECT 1", "--stop-on-interrupt"]) == 130

    assert f"interrupted: stopped the execution {EXECUTION}" in capsys.readouterr().err
    stack.stub("stepfunctions").assert_no_pending_responses()


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        # The other side has ended while it was waited for.
        ConnectionClosedError(endpoint_url="http://127.0.0.1:1"),
        ReadTimeoutError(endpoint_url="http://127.0.0.1:1"),
        ClientError({"Error": {"Code": "ExpiredTokenException", "Message": "expired"}}, "DescribeExecution"),
    ],
)
def test_a_lost_connection_names_the_execution_that_may_still_run(
    stack: Stack,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stack.starts({"QueryString": "SELECT 1"})
    monkeypatch.setattr(execution, "follow", raise_(error))

    assert main(["query", "SELECT 1"]) == 3

    assert f"the execution may still be running: {EXECUTION}" in one_line(capsys)


def test_explain_reports_a_missing_task_table(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    stepfunctions = stack.stub("stepfunctions")
    stepfunctions.add_response(
        "describe_execution",
        {
            "executionArn": EXECUTION,
            "stateMachineArn": MACHINE,
            "status": "RUNNING",
            "startDate": datetime(2026, 1, 1, tzinfo=UTC),
        },
        {"executionArn": EXECUTION},
    )
    stepfunctions.add_response("get_execution_history", {"events": []})
    stack.stub("dynamodb").add_client_error("get_item", "ResourceNotFoundException", "not found")

    assert main(["explain", EXECUTION]) == 3

    assert "the task table tasks does not exist; deploy the stack again" in one_line(capsys)
