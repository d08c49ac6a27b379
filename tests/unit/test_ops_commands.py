"""The command line of `ops`: a failure is one line and an exit code, an interruption names what runs on."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
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
from ops.execution import Run
from tests.unit.stubbed_stack import EXECUTION, MACHINE, NOW, StubbedStack

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
        ({"AWS_REGION": "not a region"}, "'not a region' doesn't match a supported format.\n"),
        (
            {"AWS_ENDPOINT_URL": "127.0.0.1:4566"},
            "Invalid endpoint: 127.0.0.1:4566; set AWS_ENDPOINT_URL to a URL",
        ),
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


def test_a_stack_of_another_kind_is_one_line(stack: StubbedStack, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay-dead-letters"]) == 3

    assert "the stack AthenaQueries has no output ExecutorFunctionName" in one_line(capsys)
    assert not stack.stubs


def test_the_input_carries_what_the_arguments_say(
    stack: StubbedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.expect_start({"QueryString": "SELECT ?", "Database": "sales", "ExecutionParameters": ["1"]})
    monkeypatch.setattr(
        execution, "follow", lambda *_: Run(arn=EXECUTION, status="FAILED", error="AthenaQuery.Failed")
    )

    assert main(["query", "SELECT ?", "--database", "sales", "--param", "1"]) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff", "is not UTF-8 text"), (None, "No such file or directory"), (b"x" * 262_144, "the input has")],
)
@pytest.mark.usefixtures("stack")
def test_a_file_that_is_no_statement_is_refused(
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


@pytest.mark.parametrize(
    "words", [["query", "SELECT 1", "--csv"], ["batch", "x", "--out"], ["dashboard", "--out"]]
)
@pytest.mark.parametrize(
    ("file", "message"), [("none/x.png", "is not a directory"), ("folder.png", "is a directory")]
)
def test_a_file_that_cannot_be_written_is_refused_before_anything_starts(
    stack: StubbedStack,
    words: list[str],
    file: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "folder.png").mkdir()

    with pytest.raises(SystemExit) as end:
        main([*words, str(tmp_path / file)])

    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not stack.stubs


def raise_(error: BaseException) -> Any:
    def follow(*_: Any) -> Run:
        raise error

    return follow


def test_an_interruption_says_that_the_execution_goes_on(
    stack: StubbedStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.expect_start({"QueryString": "SELECT 1"})
    monkeypatch.setattr(execution, "follow", raise_(KeyboardInterrupt()))

    assert main(["query", "SELECT 1"]) == 130

    assert f"the execution goes on; stop it with `python -m ops stop {EXECUTION}`" in capsys.readouterr().err


def test_an_interruption_stops_the_execution_on_request(
    stack: StubbedStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.expect_start({"QueryString": "SELECT 1"})
    stack.expect_stop(EXECUTION)
    monkeypatch.setattr(execution, "follow", raise_(KeyboardInterrupt()))

    assert main(["query", "SELECT 1", "--stop-on-interrupt"]) == 130

    assert f"interrupted: stopped the execution {EXECUTION}" in capsys.readouterr().err


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
    stack: StubbedStack,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stack.expect_start({"QueryString": "SELECT 1"})
    monkeypatch.setattr(execution, "follow", raise_(error))

    assert main(["query", "SELECT 1"]) == 3

    assert f"the execution may still be running: {EXECUTION}" in one_line(capsys)


def test_stopping_an_unknown_execution_fails_as_explaining_it_does(
    stack: StubbedStack, capsys: pytest.CaptureFixture[str]
) -> None:
    for operation in ("stop_execution", "describe_execution"):
        stack.stub("stepfunctions").add_client_error(operation, "ExecutionDoesNotExist")

    for command in ("stop", "explain"):
        assert main([command, EXECUTION]) == 1
        assert f"there is no execution {EXECUTION}; " in one_line(capsys)


@pytest.mark.parametrize("words", [["--json"], []])
@pytest.mark.parametrize("rows", [1, 1000])
def test_a_reader_that_ends_early_is_no_error(words: list[str], rows: int) -> None:
    """As in `python -m ops query … | head`, in a process of its own."""
    script = f"""
        import ops.__main__ as command
        from ops import execution
        from ops.execution import Rows, Run
        from tests.unit.stubbed_stack import EXECUTION, StubbedStack

        stack = StubbedStack()
        stack.expect_start({{"QueryString": "SELECT 1"}})
        command.connect = lambda *_, **__: stack.deployment
        output = {{"QueryId": "q", "SettledBy": "event", "EstimatedCostUsd": 0}}
        output["Statistics"] = {{"DataScannedInBytes": 0}}
        execution.follow = lambda *_: Run(arn=EXECUTION, status="SUCCEEDED", output=output)
        execution.read_rows = lambda *_: Rows(columns=["a"], rows=[["a" * 100]] * {rows}, more=False)
        raise SystemExit(command.main(["query", "SELECT 1", *{words}]))
    """
    reader, writer = os.pipe()
    os.close(reader)

    completed = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", dedent(script)],
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )

    os.close(writer)
    assert (completed.returncode, completed.stderr) == (141, "")


def test_explain_reports_a_missing_task_table(
    stack: StubbedStack, capsys: pytest.CaptureFixture[str]
) -> None:
    stepfunctions = stack.stub("stepfunctions")
    stepfunctions.add_response(
        "describe_execution",
        {
            "executionArn": EXECUTION,
            "stateMachineArn": MACHINE,
            "status": "RUNNING",
            "startDate": NOW,
        },
        {"executionArn": EXECUTION},
    )
    stepfunctions.add_response("get_execution_history", {"events": []})
    stack.stub("dynamodb").add_client_error("get_item", "ResourceNotFoundException", "not found")

    assert main(["explain", EXECUTION]) == 3

    assert "the task table tasks does not exist; deploy the stack again" in one_line(capsys)
