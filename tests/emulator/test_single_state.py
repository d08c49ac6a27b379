"""TestState of the emulator: the document's states, each tried alone."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.document import render_document
from ops.verify import states
from tests.emulator.conftest import Emulator
from tests.simulation.interpreter import read_document

SETTINGS = {
    "Partition": "aws",
    "ExecutorArn": "arn:aws:lambda:us-east-1:000000000000:function:executor",
    "CheckerArn": "arn:aws:lambda:us-east-1:000000000000:function:checker",
    "PatienceSeconds": 300,
    "PollSeconds": 30,
    "PollGrowth": 0.1,
    "BackOffSeconds": 1,
}
DOCUMENT: dict[str, Any] = read_document(render_document(), SETTINGS)
TASK = {
    "Type": "Task",
    "QueryLanguage": "JSONata",
    "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
    "Arguments": {"FunctionName": "f", "Payload": "{% $states.context.Task.Token %}"},
    "End": True,
}
MOCK = {"mock": {"result": "1", "fieldValidationMode": "NONE"}}


@pytest.mark.parametrize("case", states.CASES, ids=lambda case: case.name)
def test_a_state_of_the_document_leads_where_it_should(emulator: Emulator, case: states.Case) -> None:
    answer = emulator.client("stepfunctions").test_state(**states.request(case, json.dumps(DOCUMENT)))

    assert states.differences(case, answer) == []


def test_every_state_of_the_document_is_tried() -> None:
    assert {case.state for case in states.CASES} == set(DOCUMENT["States"])


def test_another_document_is_noticed(emulator: Emulator) -> None:
    """A lost event would fail the execution instead of leading to a poll."""
    document = json.loads(json.dumps(DOCUMENT))
    document["States"]["Start query"]["Catch"] = document["States"]["Start query"]["Catch"][:2]
    (case,) = (one for one in states.CASES if one.name == "Start query: States.Timeout")

    answer = emulator.client("stepfunctions").test_state(**states.request(case, json.dumps(document)))

    assert states.differences(case, answer)[:2] == [
        "Start query: States.Timeout: the status is FAILED, not CAUGHT_ERROR",
        "Start query: States.Timeout: the next state is None, not Get query status",
    ]


def test_arguments_see_the_given_context(emulator: Emulator) -> None:
    answer = emulator.client("stepfunctions").test_state(
        definition=json.dumps(TASK),
        context='{"Task": {"Token": "given"}}',
        inspectionLevel="DEBUG",
        **MOCK,
    )

    assert (answer["status"], answer["output"]) == ("SUCCEEDED", "1")
    assert json.loads(answer["inspectionData"]["afterArguments"])["Payload"] == "given"


@pytest.mark.parametrize(
    ("state", "parameters", "code"),
    [
        (TASK, {}, "InvalidDefinition"),
        ({"Type": "Pass", "End": True}, MOCK, "ValidationException"),
        ({"Type": "Pass", "End": True}, {"context": "{}"}, "ValidationException"),
        ({"Type": "Pass", "End": True}, {"input": "{"}, "InvalidExecutionInput"),
        ({"Type": "Parallel", "End": True, "Branches": []}, MOCK, "InvalidDefinition"),
        ({"End": True}, {}, "InvalidDefinition"),
    ],
)
def test_what_step_functions_does_not_test_is_refused(
    emulator: Emulator, state: dict[str, Any], parameters: dict[str, Any], code: str
) -> None:
    with pytest.raises(ClientError) as refusal:
        emulator.client("stepfunctions").test_state(definition=json.dumps(state), **parameters)

    assert refusal.value.response["Error"]["Code"] == code
