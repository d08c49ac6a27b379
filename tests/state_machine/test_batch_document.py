"""Invariants of the batch's document, and its expressions evaluated by a JSONata engine."""

import json
import re
from typing import Any

import pytest
from jsonata import Jsonata

from infra.document import BATCH_SOURCE, render_document
from tests.state_machine.reading import next_states, reached_from

TEXT = render_document(BATCH_SOURCE).replace("${Partition}", "aws")
MACHINE: Any = json.loads(TEXT)
STATES: dict[str, Any] = MACHINE["States"]
MAP = STATES["Run queries"]
CHILD: dict[str, Any] = MAP["ItemProcessor"]["States"]
TASKS = {name: one for name, one in {**STATES, **CHILD}.items() if one["Type"] == "Task"}


def evaluate(expression: str, **states: Any) -> Any:
    """The value of a `{% … %}` with `$states`."""
    match = re.fullmatch(r"\{%(.*)%\}", expression.replace("${BatchConcurrency}", "15"), re.DOTALL)
    assert match, expression
    compiled = Jsonata(match[1])
    frame = compiled.create_frame()
    frame.bind("states", states)
    return compiled.evaluate(None, frame)


def test_every_state_is_reached() -> None:
    assert reached_from(STATES, MACHINE["StartAt"]) | {MACHINE["StartAt"]} == set(STATES)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_time_limit_and_is_retried_with_jitter(name: str) -> None:
    task = TASKS[name]
    assert task["TimeoutSeconds"] < MACHINE["TimeoutSeconds"]
    for retrier in task["Retry"]:
        assert retrier["JitterStrategy"] == "FULL"
        assert retrier["BackoffRate"] > 1
        assert retrier["MaxDelaySeconds"] == 300


def test_a_failed_query_fails_its_child_and_is_not_started_again() -> None:
    """It is States.TaskFailed. The map counts the child, and a redrive runs it again."""
    assert list(CHILD) == ["Run query"]
    assert "Catch" not in CHILD["Run query"]
    for retrier in CHILD["Run query"]["Retry"]:
        assert all(one.startswith("StepFunctions.") for one in retrier["ErrorEquals"])


def test_a_failed_map_can_be_redriven() -> None:
    assert "Catch" not in MAP
    assert "Retry" not in MAP


def test_the_output_of_the_map_has_a_fixed_size() -> None:
    assert MAP["ResultWriter"]["Resource"] == "arn:aws:states:::s3:putObject"
    assert CHILD["Run query"]["Output"] == {}


def test_only_a_refused_batch_ends_in_a_fail_state() -> None:
    assert [name for name, state in STATES.items() if state["Type"] == "Fail"] == ["Refused"]
    assert [name for name, state in STATES.items() if "Refused" in next_states(state)] == [
        *("Plan", "Check plan")
    ]


@pytest.mark.parametrize(
    ("context", "name"),
    [
        ({}, "nightly-00001"),
        ({"RedriveCount": 0}, "nightly-00001"),
        ({"RedriveCount": 2}, "nightly-00001-r2"),
    ],
)
def test_a_redrive_has_an_execution_of_its_own(context: dict[str, Any], name: str) -> None:
    expression = CHILD["Run query"]["Arguments"]["Name"]
    found = evaluate(expression, input={"Name": "nightly-00001"}, context={"Execution": context})
    assert found == name


def test_a_query_receives_its_input_and_the_link_to_its_parent() -> None:
    item = {"Name": "a", "Input": {"QueryString": "SELECT 1"}}
    found = evaluate(
        CHILD["Run query"]["Arguments"]["Input"], input=item, context={"Execution": {"Id": "child"}}
    )
    assert found == {
        "QueryString": "SELECT 1",
        "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": "child",
    }


def test_the_plan_decides_what_comes_next() -> None:
    refused, nothing = (choice["Condition"] for choice in STATES["Check plan"]["Choices"])
    assert [choice["Next"] for choice in STATES["Check plan"]["Choices"]] == ["Refused", "Report"]
    assert evaluate(refused, input={"Refused": "why"}) is True
    assert evaluate(refused, input={"ToRun": 3}) is False
    assert evaluate(nothing, input={"ToRun": 0}) is True
    assert evaluate(nothing, input={"ToRun": 3}) is False
    assert STATES["Check plan"]["Default"] == "Run queries"
    assert evaluate(MAP["MaxConcurrency"]) == 15
    assert evaluate(MAP["ToleratedFailureCount"], input={"ToleratedFailureCount": 0}) == 0
