"""The Step Functions client as the functions see it: the callbacks of a state machine."""

# ruff: noqa: N803 — arguments are named as botocore names them

import json
from typing import Any

from tests.simulation.interpreter import CAUSE_CHARACTERS, ERROR_CHARACTERS, OUTPUT_BYTES, StateMachine
from tests.simulation.lambdas import Lambdas, Outcome, refusal


class StepFunctions:
    """`told` holds `(query id, end)` of each callback that a task heard."""

    def __init__(self, machine: StateMachine, lambdas: Lambdas) -> None:
        self.told: list[tuple[str, str]] = []
        self._machine = machine
        self._lambdas = lambdas

    def send_task_success(self, *, taskToken: str, output: str) -> dict[str, Any]:
        if len(output.encode()) > OUTPUT_BYTES:
            raise refusal("SendTaskSuccess", "InvalidOutput")
        outcome = Outcome(value=json.loads(output))
        return self._send("SendTaskSuccess", taskToken, outcome, outcome.value["QueryId"], "success")

    def send_task_failure(self, *, taskToken: str, error: str, cause: str) -> dict[str, Any]:
        if len(error) > ERROR_CHARACTERS or len(cause) > CAUSE_CHARACTERS:
            raise refusal("SendTaskFailure", "ValidationException")
        outcome = Outcome(error=error, cause=cause)
        return self._send("SendTaskFailure", taskToken, outcome, json.loads(cause).get("QueryId"), error)

    def _send(
        self, operation: str, token: str, outcome: Outcome, query_id: str | None, end: str
    ) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            self._machine.settle(token, outcome)
            if query_id is not None:
                self.told.append((query_id, end))
            return {}

        return self._lambdas.call(operation, effect, end)
