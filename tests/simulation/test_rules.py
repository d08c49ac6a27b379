"""The rules that the simulation's events pass. tests/template compares them with the stack's own."""

import pytest

from tests.simulation.events import RULES, WORK_GROUP, matches


@pytest.mark.parametrize(
    ("state", "passes"),
    [("QUEUED", False), ("RUNNING", False), ("SUCCEEDED", True), ("FAILED", True), ("CANCELLED", True)],
)
def test_the_rule_passes_every_terminal_state_and_nothing_else(state: str, passes: bool) -> None:
    [rule] = [rule for rule in RULES if rule.function == "checker"]
    detail = {"currentState": state, "workgroupName": WORK_GROUP, "more": 1}
    event = {"source": "aws.athena", "detail-type": "Athena Query State Change", "detail": detail}
    assert matches(rule.pattern, event) is passes
    detail["workgroupName"] = "primary"
    assert not matches(rule.pattern, event)
