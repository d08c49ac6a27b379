"""Single states of the examples' documents, tried by TestState: what no trigger can cause in time."""

import json
from typing import Any

import pytest

from functions import errors
from tests import examples
from tests.emulator.conftest import Emulator

REPORT = (
    (examples.FOLDER / "state_machine" / "report.asl.json")
    .read_text()
    .replace("${StateMachineArn}", "arn:aws:states:us-east-1:000000000000:stateMachine:queries")
    .replace("${RetrySeconds}", "60")
)
# The errors of the contract; RunAgain never leaves the state machine.
ERRORS = [
    f"AthenaQuery.{kind.__name__}"
    for kind in errors.AthenaQueryError.__subclasses__()
    if kind is not errors.RunAgain
]
NEXT = {
    "AthenaQuery.Throttled": "Wait for capacity",
    "AthenaQuery.TransientFailure": "Wait for capacity",
    "AthenaQuery.Failed": "Explain failure",
}


def tried(emulator: Emulator, state: str, **parameters: Any) -> dict[str, Any]:
    answer: dict[str, Any] = emulator.client("stepfunctions").test_state(
        definition=REPORT, stateName=state, inspectionLevel="DEBUG", **parameters
    )
    return answer


@pytest.mark.parametrize("error", ERRORS)
def test_each_error_of_the_contract_has_its_branch(emulator: Emulator, error: str) -> None:
    variables = {"failure": {"Error": error}, "starts": 1}

    answer = tried(emulator, "Check error", variables=json.dumps(variables))

    assert answer["nextState"] == NEXT.get(error, "Give up")


def test_a_query_is_started_three_times_at_most(emulator: Emulator) -> None:
    variables = {"failure": {"Error": "AthenaQuery.Throttled"}, "starts": 3}

    answer = tried(emulator, "Check error", variables=json.dumps(variables))

    assert answer["nextState"] == "Give up"


@pytest.mark.parametrize(
    ("error", "cause", "name"),
    [
        (
            "States.TaskFailed",
            json.dumps({"Error": "AthenaQuery.Failed", "Cause": "{}"}),
            "AthenaQuery.Failed",
        ),
        ("StepFunctions.AccessDeniedException", "no permission", "StepFunctions.AccessDeniedException"),
        ("States.Timeout", "", "States.Timeout"),
    ],
)
def test_the_error_of_the_child_is_found_in_the_cause(
    emulator: Emulator, error: str, cause: str, name: str
) -> None:
    answer = tried(
        emulator,
        "Run query",
        variables=json.dumps({"query": {"QueryString": "SELECT 1"}}),
        context=json.dumps({"Execution": {"Id": "arn:aws:states:us-east-1:000000000000:execution:report:1"}}),
        mock={"errorOutput": {"error": error, "cause": cause}},
    )

    assert (answer["status"], answer["nextState"]) == ("CAUGHT_ERROR", "Check error")
    assert json.loads(answer["inspectionData"]["variables"])["failure"]["Error"] == name
