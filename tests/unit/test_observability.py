"""Nothing that a caller trusted us with reaches a log, a metric or an exception."""

import io
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from functions import checker, executor
from functions.errors import ServiceFault
from functions.observability import lambda_handler, logger, metrics
from tests.unit.calls import (
    FORGET,
    QUERY,
    REGISTER,
    SQL,
    TOKEN,
    announce,
    athena_error,
    half,
    query_event,
    query_execution,
    start,
    task,
    update,
)
from tests.unit.conftest import Aws


class Context:
    function_name = "executor"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:executor"
    aws_request_id = "request"


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
def test_a_fault_of_aws_leaves_without_what_was_sent(error: Exception, log: io.StringIO) -> None:
    @lambda_handler
    def handler(_event: dict[str, Any]) -> None:
        raise error

    with pytest.raises(ServiceFault) as fault:
        handler({}, Context())

    assert TOKEN not in str(fault.value)
    assert fault.value.__cause__ is None
    assert fault.value.__context__ is None
    assert TOKEN not in log.getvalue()
    assert "AWS call failed" in log.getvalue()


def test_metrics_are_written_even_if_the_handler_raises(capsys: pytest.CaptureFixture[str]) -> None:
    @lambda_handler
    def handler(_event: dict[str, Any]) -> None:
        metrics.add_metric("OrphansStopped", "Count", 1)
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        handler({}, Context())

    written = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert written["OrphansStopped"] == [1.0]


def test_neither_sql_nor_parameters_nor_tokens_nor_reasons_are_logged(
    aws: Aws, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = ["someone@example.com", TOKEN, "'planted-parameter'"]
    document = {"QueryString": SQL, "ExecutionParameters": ["'planted-parameter'"]}
    aws.expect("UpdateItem", announce())
    aws.expect(
        "StartQueryExecution", start(ExecutionParameters=["'planted-parameter'"]), {"QueryExecutionId": QUERY}
    )
    aws.expect("UpdateItem", REGISTER)
    aws.expect("UpdateItem", update(QUERY, half()), {"Attributes": half()})
    aws.expect(
        "UpdateItem",
        update(QUERY, {"State": {"S": "FAILED"}}),
        {"Attributes": {**half(), "State": {"S": "FAILED"}}},
    )
    failed = query_execution("FAILED", error=athena_error())
    aws.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, failed)
    sent = aws.expect_callback("SendTaskFailure", TOKEN)
    aws.expect("UpdateItem", FORGET)

    lambda_handler(lambda event: executor.run(event, aws.runtime))(task(document), Context())
    lambda_handler(lambda event: checker.run(event, aws.runtime))(query_event("FAILED"), Context())
    lambda_handler(lambda event: executor.run(event, aws.runtime))(_bad_input(aws), Context())

    written = log.getvalue() + "".join(capsys.readouterr())
    assert "settled" in written
    assert '"Failed"' in written
    assert "someone@example.com" in sent[0]["cause"]
    assert [one for one in planted if one in written] == []


def _bad_input(aws: Aws) -> dict[str, Any]:
    aws.expect_callback("SendTaskFailure", TOKEN)
    return task({"QueryString": SQL, "someone@example.com": "'planted-parameter'"})
