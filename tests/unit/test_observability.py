"""No data of a caller reaches a log, a metric or an exception; faults have one of two names."""

import ast
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError, ParamValidationError

from functions import checker, executor, observability, runtime
from functions.errors import InternalFault, ServiceFault
from functions.observability import lambda_handler, logger, metrics
from functions.settings import Settings
from tests.unit.conftest import SETTINGS, Stubbed
from tests.unit.samples import (
    QUERY,
    SQL,
    TOKEN,
    athena_error,
    query_event,
    query_execution,
    start_request,
    task,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Context:
    function_name = "executor"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:executor"
    aws_request_id = "request"

    def __init__(self, remaining_seconds: float = 30) -> None:
        self.get_remaining_time_in_millis: Callable[[], float] = lambda: remaining_seconds * 1000


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    for handler in logger.registered_handler, *logger.handlers:
        monkeypatch.setattr(handler, "stream", stream)
    return stream


@pytest.mark.parametrize(
    "error",
    [
        ClientError(
            {"Error": {"Code": "InvalidToken", "Message": f"Invalid Token: '{TOKEN}'"}}, "SendTaskSuccess"
        ),
        ParamValidationError(report=f"Invalid length for parameter taskToken, value: {TOKEN}"),
    ],
)
def test_a_fault_of_aws_does_not_contain_the_request(error: Exception, log: io.StringIO) -> None:
    @lambda_handler
    def handler(_event: dict[str, Any]) -> None:
        raise error

    with pytest.raises(ServiceFault) as fault:
        handler({}, Context())

    assert TOKEN not in str(fault.value)
    assert fault.value.__cause__ is None
    assert fault.value.__context__ is None
    assert TOKEN not in log.getvalue()
    assert "function failed" in log.getvalue()


def test_metrics_are_written_even_if_the_handler_raises(capsys: pytest.CaptureFixture[str]) -> None:
    @lambda_handler
    def handler(_event: dict[str, Any]) -> None:
        metrics.add_metric("OrphansStopped", "Count", 1)
        raise ValueError("a bug")

    with pytest.raises(InternalFault):
        handler({}, Context())

    written = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert written["OrphansStopped"] == [1.0]


def test_a_defect_has_its_class_and_its_place_only(log: io.StringIO) -> None:
    @lambda_handler
    def handler(_event: dict[str, Any]) -> None:
        raise KeyError(SQL)

    with pytest.raises(InternalFault, match=r"^KeyError at test_observability\.py:\d+$") as fault:
        handler({}, Context())

    assert fault.value.__context__ is None
    assert "KeyError" in log.getvalue()
    assert "someone@example.com" not in log.getvalue()


def test_a_missing_setting_is_named(log: io.StringIO) -> None:
    @lambda_handler
    def handler(_event: dict[str, Any]) -> None:
        Settings.from_environment({})

    with pytest.raises(InternalFault, match=r"^AWS_REGION is not set; deploy the stack again$"):
        handler({}, Context())

    assert "AWS_REGION is not set" in log.getvalue()


@pytest.mark.parametrize("remaining", [0.0, runtime.CALL_SECONDS - 0.1])
def test_a_function_fails_before_a_call_that_could_exceed_its_time_limit(
    monkeypatch: pytest.MonkeyPatch, remaining: float
) -> None:
    """Metrics are flushed, and the fault is named. Sockets are disabled, so no connection is opened."""
    for name, value in {**SETTINGS.to_environment(), "AWS_ACCESS_KEY_ID": "a"}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_REGION", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "eu-west-1")
    runtime.get_runtime.cache_clear()
    made = runtime.get_runtime()
    runtime.get_runtime.cache_clear()

    @lambda_handler
    def handler(_event: dict[str, Any]) -> None:
        made.athena.get_query_execution(QueryExecutionId=QUERY)

    with pytest.raises(ServiceFault, match="OutOfTime"):
        handler({}, Context(remaining))


def test_two_attempts_of_a_call_fit_into_its_budget() -> None:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
    config: Any = session.client("athena", config=runtime.CONFIG).meta.config

    tries = config.retries["total_max_attempts"]
    assert tries * (config.connect_timeout + config.read_timeout) < runtime.CALL_SECONDS


def test_nothing_is_added_to_traces() -> None:
    """Lambda and Step Functions trace by themselves, without payloads; an SDK could add some."""
    imported = set()
    for source in Path(observability.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            match node:
                case ast.Import(names=names):
                    imported |= {one.name for one in names}
                case ast.ImportFrom(module=module, names=names):
                    imported |= {f"{module}.{one.name}" for one in names}
    assert "aws_lambda_powertools.Logger" in imported
    assert [one for one in imported if "xray" in one.lower() or "trace" in one.lower()] == []


def test_neither_sql_nor_parameters_nor_tokens_nor_reasons_are_logged(
    stubbed: Stubbed, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = ["someone@example.com", TOKEN, "'planted-parameter'"]
    document = {"QueryString": SQL, "ExecutionParameters": ["'planted-parameter'"]}
    request = start_request(ExecutionParameters=["'planted-parameter'"])
    stubbed.expect("StartQueryExecution", request, {"QueryExecutionId": QUERY})
    failed = query_execution("FAILED", error=athena_error())
    stubbed.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, failed)
    sent = stubbed.expect_callback("SendTaskFailure", TOKEN)
    execute = lambda_handler(lambda event: executor.run(event, stubbed.runtime))
    check = lambda_handler(lambda event: checker.run(event, stubbed.runtime))

    execute(task(document), Context())
    check(query_event("FAILED"), Context())
    stubbed.expect_callback("SendTaskFailure", TOKEN)
    execute(task({"QueryString": SQL, "someone@example.com": "'planted-parameter'"}), Context())

    written = log.getvalue() + "".join(capsys.readouterr())
    assert "settled" in written
    assert '"Failed"' in written
    assert "someone@example.com" in sent[0]["cause"]
    assert [one for one in planted if one in written] == []
