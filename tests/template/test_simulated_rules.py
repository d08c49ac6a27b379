"""The simulation runs under the stack's own event rules."""

import copy
from collections.abc import Mapping
from typing import Any

from tests.simulation.events import RULES
from tests.template.reading import Template

# Names in the stack, and in the simulation.
STAND_INS = {"workgroupName": ["the-work-group"], "stateMachineArn": ["the-machine"]}


def test_the_simulation_has_the_rules_of_the_stack(template: Template) -> None:
    patterns = []
    for rule in template.resources("AWS::Events::Rule").values():
        if "EventPattern" not in rule["Properties"]:
            continue  # a schedule
        pattern = copy.deepcopy(rule["Properties"]["EventPattern"])
        pattern["detail"].update({name: STAND_INS[name] for name in pattern["detail"] if name in STAND_INS})
        patterns.append(pattern)
    assert sorted(patterns, key=_source) == sorted(RULES.values(), key=_source)


def _source(pattern: Mapping[str, Any]) -> str:
    return str(pattern["source"])
