"""Where each state of the document leads, as `TestState` shows with a mock for each outcome of a task."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_ENTERED = "2026-01-01T00:00:00.000Z"
_ENTRY = {"EnteredTime": _ENTERED, "RedriveCount": 0, "RedriveTime": "", "RunAgain": {}}
_AGAIN = {"Attempt": 2, "RedriveCount": 0}
_WAIT_SECONDS = 100
# What the states of the fallback branch find; "Start query" assigns both.
_VARIABLES = {"start": _ENTRY, "waitSeconds": _WAIT_SECONDS}
# More retries than any Retry of the document allows.
_NO_RETRY_LEFT = 1_000

# Assigned by the state to a value that depends on the stack's settings.
ANY: Any = object()


@dataclass(frozen=True, kw_only=True)
class Case:
    """One try of a state, and where it has to lead.

    `result` or `error` is what a task is mocked with; neither for other states. `status` and `next` are as
    TestState returns them. `output` and `assigned`, if they are given, are the state's output and variables.
    """

    state: str
    input: Any = field(default_factory=dict)
    result: Any = None
    error: str | None = None
    cause: str = ""
    retries: int = 0
    status: str = "SUCCEEDED"
    next: str | None = None
    output: Any = None
    assigned: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        what = self.error or (self.input.get("State") if isinstance(self.input, dict) else None) or "success"
        return f"{self.state}: {what}{' after all retries' if self.retries else ''}"


def _starts(state: str, *, to_fallback: Mapping[str, Any]) -> list[Case]:
    """The cases of a state that calls the executor and waits for its callback."""
    output = {"QueryId": "query"}
    caught: dict[str, Any] = {"status": "CAUGHT_ERROR", "next": "Get query status", "assigned": to_fallback}
    return [
        Case(state=state, result=output, next="Done", output=output),
        Case(state=state, error="AthenaQuery.Failed", cause="{}", status="FAILED"),
        Case(state=state, error="AthenaQuery.Throttled", status="RETRIABLE"),
        Case(state=state, error="AthenaQuery.Throttled", retries=_NO_RETRY_LEFT, status="FAILED"),
        Case(
            state=state,
            error="AthenaQuery.RunAgain",
            cause=json.dumps(_AGAIN),
            status="CAUGHT_ERROR",
            next="Back off",
            output={"RunAgain": _AGAIN},
        ),
        Case(state=state, error="Sandbox.Timedout", status="RETRIABLE"),
        Case(state=state, error="Sandbox.Timedout", retries=_NO_RETRY_LEFT, **caught),
        Case(state=state, error="States.Timeout", **caught),
        Case(state=state, error="States.DataLimitExceeded", status="CAUGHT_ERROR", next="Failed"),
    ]


_STATUS = {"State": "RUNNING", "WaitSeconds": 30}

CASES = [
    *_starts("Start query", to_fallback={"start": _ENTRY, "waitSeconds": ANY}),
    Case(
        state="Get query status",
        result={"StatusCode": 200, "Payload": _STATUS},
        next="Check query status",
        output=_STATUS,
        assigned={"waitSeconds": 30},
    ),
    Case(state="Get query status", error="Sandbox.Timedout", status="RETRIABLE"),
    Case(
        state="Get query status",
        error="KeyError",
        status="CAUGHT_ERROR",
        next="Wait",
        assigned={"waitSeconds": ANY},
    ),
    Case(
        state="Check query status",
        input={"State": "SUCCEEDED", "Output": {"QueryId": "query"}},
        next="Done",
        output={"QueryId": "query"},
    ),
    *(
        Case(state="Check query status", input={"State": state}, next="Failed")
        for state in ("FAILED", "CANCELLED")
    ),
    *(
        Case(state="Check query status", input={"State": state}, next="Wait")
        for state in ("QUEUED", "RUNNING")
    ),
    *_starts("Wait", to_fallback=_VARIABLES),
    *_starts("Failed", to_fallback=_VARIABLES),
    Case(state="Back off", input={"RunAgain": {"Attempt": 1}}, next="Start query"),
    Case(state="Done", input={"QueryId": "query"}, output={"QueryId": "query"}),
]


def request(case: Case, definition: str) -> dict[str, Any]:
    """The parameters of TestState."""
    parameters: dict[str, Any] = {
        "definition": definition,
        "stateName": case.state,
        "input": json.dumps(case.input),
        "variables": json.dumps({} if case.state == "Start query" else _VARIABLES),
        # With the variables in the answer.
        "inspectionLevel": "DEBUG",
    }
    if case.error is None and case.result is None:
        return parameters
    parameters["context"] = json.dumps(_context(case.state))
    if case.error is None:
        # Neither a callback's result nor a payload that is JSON has the shape of Lambda's API.
        return parameters | {"mock": {"result": json.dumps(case.result), "fieldValidationMode": "NONE"}}
    return parameters | {
        "mock": {"errorOutput": {"error": case.error, "cause": case.cause}},
        "stateConfiguration": {"retrierRetryCount": case.retries},
    }


def differences(case: Case, answer: Mapping[str, Any]) -> list[str]:
    """How TestState's answer differs from the case."""
    found = {"status": answer["status"], "next state": answer.get("nextState")}
    wanted: dict[str, Any] = {"status": case.status, "next state": case.next}
    if case.output is not None:
        found["output"], wanted["output"] = json.loads(answer.get("output", "null")), case.output
    variables = json.loads(answer.get("inspectionData", {}).get("variables", "{}"))
    for name, value in case.assigned.items():
        found[name] = variables.get(name)
        wanted[name] = value
    return [
        f"{case.name}: the {name} is {found[name]}, not {value}"
        for name, value in wanted.items()
        if (found[name] is None if value is ANY else found[name] != value)
    ]


def _context(state: str) -> dict[str, Any]:
    """The context object of an execution without a deadline."""
    return {
        "Execution": {
            "Id": "arn:aws:states:us-east-1:123456789012:execution:verify:verify",
            "Input": {"QueryString": "SELECT 1"},
            "Name": "verify",
            "RoleArn": "arn:aws:iam::123456789012:role/verify",
            "StartTime": _ENTERED,
            "RedriveCount": 0,
        },
        "State": {"Name": state, "EnteredTime": _ENTERED, "RetryCount": 0},
        "StateMachine": {"Id": "arn:aws:states:us-east-1:123456789012:stateMachine:verify", "Name": "verify"},
        "Task": {"Token": "verify"},
    }
