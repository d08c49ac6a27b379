"""The rules that the simulation's events pass. tests/template compares them with the stack's own."""

import pytest

from tests.simulation.events import RULES, matches


@pytest.mark.parametrize(
    ("state", "heard"),
    [("QUEUED", False), ("RUNNING", False), ("SUCCEEDED", True), ("FAILED", True), ("CANCELLED", True)],
)
def test_the_rule_hears_of_every_end_and_of_nothing_else(state: str, heard: bool) -> None:
    detail = {"currentState": state, "workgroupName": "the-work-group", "more": 1}
    event = {
        "source": "aws.athena",
        "detail-type": "Athena Query State Change",
        "detail": detail,
    }
    assert matches(RULES["checker"], event) is heard
    detail["workgroupName"] = "primary"
    assert not matches(RULES["checker"], event)
