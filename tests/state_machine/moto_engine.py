"""The document on a third-party engine: moto's Step Functions interpreter, in real time.

moto does not evaluate JSONata; jsonata-python does. Lambda invocations go to test doubles. Where moto differs
from AWS: it has no RedriveExecution and no Execution.RedriveCount; a retried callback task keeps its token,
and receives its last failure again for a while.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import boto3
from jsonata import Jsonata
from moto import mock_aws
from moto.stepfunctions.parser.api import InvalidToken, TaskDoesNotExist, TaskTimedOut
from moto.stepfunctions.parser.asl.component.common.retry import jitter_strategy_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.jsonata import jsonata as moto_jsonata
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from infra.document import render_document
from tests.simulation.interpreter import read_document

REGION, ACCOUNT = "eu-west-1", "123456789012"
FUNCTIONS = {name: f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}" for name in ("executor", "checker")}
SETTINGS = {"PatienceSeconds": 2, "PollSeconds": 1, "PollGrowth": 0.1, "BackOffSeconds": 1}

Double = Callable[["Engine", dict[str, Any]], Any]


class Raised(Exception):
    """Raised by a double to make its function fail with the error `name`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass
class Engine:
    """`calls` are the functions' invocations, as `(function, payload)`, in order."""

    client: Any
    backend: Any
    machine: str
    doubles: dict[str, Double]
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def run(self, execution_input: Any) -> dict[str, Any]:
        """Start an execution and return its description once it has ended."""
        arn = self.client.start_execution(stateMachineArn=self.machine, input=json.dumps(execution_input))[
            "executionArn"
        ]
        for _ in range(400):
            execution: dict[str, Any] = self.client.describe_execution(executionArn=arn)
            if execution["status"] != "RUNNING":
                return execution
            time.sleep(0.05)
        raise AssertionError(f"still running after {self.states(arn)}")

    def states(self, arn: str) -> list[str]:
        """The states that the execution entered."""
        events = self.client.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        return [
            event["stateEnteredEventDetails"]["name"]
            for event in events
            if "stateEnteredEventDetails" in event
        ]

    def succeed_soon(self, token: str, output: Any) -> None:
        """Send a task its output once its function has returned, as a checker would."""
        _soon(lambda: self.backend.send_task_success(token, json.dumps(output)))

    def fail_soon(self, token: str, error: str, cause: Any) -> None:
        # Not through the client: moto's own SendTaskFailure loses the cause.
        _soon(lambda: self.backend.send_task_failure(token, error, json.dumps(cause)))

    def invoke(self, *, parameters: dict[str, Any], **_others: Any) -> dict[str, Any]:
        function = parameters["FunctionName"].rpartition(":")[2]
        payload = json.loads(parameters["Payload"])
        self.calls.append((function, payload))
        try:
            return {"StatusCode": 200, "Payload": self.doubles[function](self, payload)}
        except Raised as error:
            fault = {"errorType": error.name, "errorMessage": error.name}
            return {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": fault}


def _soon(send: Callable[[], Any]) -> None:
    def unless_too_late() -> None:
        with suppress(InvalidToken, TaskDoesNotExist, TaskTimedOut):
            send()

    threading.Timer(0.2, unless_too_late).start()


def _evaluate(expression: str) -> Any:
    return Jsonata(expression).evaluate(None)


def definition() -> str:
    """The document as deployed, with short intervals."""
    functions = {"ExecutorArn": FUNCTIONS["executor"], "CheckerArn": FUNCTIONS["checker"]}
    substitutions = {"Partition": "aws", **functions, **SETTINGS}
    return json.dumps(read_document(render_document(), substitutions))


@contextmanager
def engine(**doubles: Double) -> Iterator[Engine]:
    with (
        mock_aws(config={"stepfunctions": {"execute_state_machine": True}}),
        patch.object(moto_jsonata, "_eval_jsonata", _evaluate),
        patch(f"{jitter_strategy_decl.__name__}.random.uniform", lambda _low, _high: 0.05),
    ):
        client = boto3.client("stepfunctions", REGION, aws_access_key_id="test", aws_secret_access_key="test")
        machine = client.create_state_machine(
            name="athena",
            definition=definition(),
            roleArn=f"arn:aws:iam::{ACCOUNT}:role/athena",
        )["stateMachineArn"]
        made = Engine(client, stepfunctions_parser_backends[ACCOUNT][REGION], machine, doubles)
        with patch.object(lambda_eval_utils, "_invoke_lambda_function", made.invoke):
            yield made
