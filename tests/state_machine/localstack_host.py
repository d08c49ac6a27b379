"""Runs executions on LocalStack's interpreter with the reference JSONata, in an environment of its own.

`python localstack_host.py NODE...`, where NODE is the command of Node. Lines of JSON on stdin are
`{start, definition, input}`, `{answer, payload, fault}` and `{token, output}` or `{token, error, cause}`.
Lines on stdout are `{invoke, function, payload}` and `{events}`. The caller answers for Lambda, and
LocalStack's bridge to a Java JSONata is not used.
"""

# ruff: noqa: E402 # the stand-ins of modules come before the imports of LocalStack

import io
import itertools
import json
import queue
import subprocess
import sys
import threading
import types
from typing import Any

for module in ("jpype", "jpype.imports", "localstack.services.stepfunctions.packages"):
    sys.modules[module] = types.ModuleType(module)
sys.modules["localstack.services.stepfunctions.packages"].jpype_jsonata_package = None  # type: ignore[attr-defined] # not installed

from localstack.services.stepfunctions.asl.component.common.retry import jitter_strategy_decl
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task import lambda_eval_utils
from localstack.services.stepfunctions.asl.eval import evaluation_details as details
from localstack.services.stepfunctions.asl.eval.callback import callback
from localstack.services.stepfunctions.asl.jsonata import jsonata
from localstack.services.stepfunctions.asl.utils.encoding import to_json_str
from localstack.services.stepfunctions.backend.execution_worker import ExecutionWorker

REGION, ACCOUNT = "eu-west-1", "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/athena"
EVALUATE = """
const jsonata = require('jsonata');
require('readline').createInterface({input: process.stdin}).on('line', async line => {
  let answer;
  try { answer = {value: await jsonata(JSON.parse(line)).evaluate(undefined)}; }
  catch (error) { answer = {error: String(error.message)}; }
  console.log(JSON.stringify(answer));
});
"""

output = sys.stdout
sys.stdout = sys.stderr  # what LocalStack prints is no answer
answers: dict[int, queue.Queue[dict[str, Any]]] = {}
numbers = itertools.count()
writing, evaluating = threading.Lock(), threading.Lock()


def send(message: dict[str, Any]) -> None:
    with writing:
        output.write(json.dumps(message) + "\n")
        output.flush()


def invoke(parameters: dict[str, Any], **_others: Any) -> dict[str, Any]:
    number = next(numbers)
    answers[number] = queue.Queue()
    payload = parameters["Payload"]
    text = payload.decode() if isinstance(payload, bytes) else payload
    send({"invoke": number, "function": parameters["FunctionName"], "payload": json.loads(text)})
    answer = answers[number].get()
    fault = {"FunctionError": "Unhandled"} if answer["fault"] else {}
    return {"StatusCode": 200, "Payload": answer["payload"], **fault}


class Worker(ExecutionWorker):  # type: ignore[misc] # LocalStack is not installed where types are checked
    def terminated(self) -> None:
        send({"events": json.loads(to_json_str(self.env.event_manager.get_event_history()))})


def start(message: dict[str, Any]) -> Worker:
    name = message["start"]
    prefix = f"arn:aws:states:{REGION}:{ACCOUNT}"
    worker = Worker(
        details.EvaluationDetails(
            details.AWSExecutionDetails(ACCOUNT, REGION, ROLE),
            details.ExecutionDetails(
                f"{prefix}:execution:athena:{name}", name, ROLE, message["input"], "2026-11-01T00:00:00.000Z"
            ),
            details.StateMachineDetails(
                f"{prefix}:stateMachine:athena", "athena", "STANDARD", message["definition"]
            ),
        ),
        exec_comm=None,
        cloud_watch_logging_session=None,
        activity_store={},
    )
    worker._execution_communication = worker  # noqa: SLF001 # it has one method, `terminated`
    worker.start()
    return worker


def settle(worker: Worker, message: dict[str, Any]) -> None:
    token = message["token"]
    outcome = (
        callback.CallbackOutcomeSuccess(token, message["output"])
        if "output" in message
        else callback.CallbackOutcomeFailure(token, message["error"], message["cause"])
    )
    try:
        worker.env.callback_pool_manager.notify(callback_id=token, outcome=outcome)
    except Exception as error:  # noqa: BLE001 # a late callback is normal
        print(type(error).__name__, file=sys.stderr)  # noqa: T201 # kept out of the protocol


def main(node: list[str]) -> None:
    evaluator = subprocess.Popen(  # noqa: S603 # the pinned Node of the caller
        [*node, "-e", EVALUATE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def evaluate(expression: str) -> Any:
        with evaluating:
            assert evaluator.stdin
            assert evaluator.stdout
            evaluator.stdin.write(json.dumps(expression) + "\n")
            evaluator.stdin.flush()
            answer = json.loads(evaluator.stdout.readline())
        if "error" in answer:
            raise jsonata.JSONataException("UNKNOWN", answer["error"])
        return answer.get("value")

    jsonata._eval_jsonata = evaluate  # noqa: SLF001 # replaces the Java one
    lambda_eval_utils._invoke_lambda_function = invoke  # noqa: SLF001 # likewise for Lambda
    jitter_strategy_decl.random = types.SimpleNamespace(uniform=lambda _low, _high: 0.05)
    worker = None
    for line in io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8"):
        message = json.loads(line)
        if "start" in message:
            worker = start(message)
        elif "answer" in message:
            answers[message["answer"]].put(message)
        elif worker:
            settle(worker, message)
    evaluator.kill()


if __name__ == "__main__":
    main(sys.argv[1:])
