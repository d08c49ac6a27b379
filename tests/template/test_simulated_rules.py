"""The simulation runs under the stack's own event rules, schedule and retries."""

import copy
from collections.abc import Mapping
from typing import Any

from infra.settings import Settings
from tests.simulation.deployment import Deployment
from tests.simulation.events import RULES, transformed_fields
from tests.simulation.lambdas import ASYNC_RETRIES
from tests.simulation.world import EVENT_AGE
from tests.template.reading import Template, text

# Names in the stack, and in the simulation.
STAND_INS = {"workgroupName": RULES[0].pattern["detail"], "stateMachineArn": RULES[1].pattern["detail"]}

Rule = Mapping[str, Any]


def rules_with(template: Template, what: str) -> list[Rule]:
    """The rules of the workflow, not those of batches."""
    rules = (rule["Properties"] for rule in template.resources("AWS::Events::Rule").values())
    batches = f"<{template.function('reporter')[0]}.Arn>"
    return [rule for rule in rules if what in rule and text(rule["Targets"][0]["Arn"]) != batches]


def test_the_simulation_has_the_rules_of_the_stack(template: Template) -> None:
    deployed = {}
    for rule in rules_with(template, "EventPattern"):
        pattern = copy.deepcopy(rule["EventPattern"])
        pattern["detail"].update(
            {name: STAND_INS[name][name] for name in pattern["detail"] if name in STAND_INS}
        )
        [target] = rule["Targets"]
        transformer = target["InputTransformer"]
        fields = transformed_fields(transformer["InputPathsMap"], transformer["InputTemplate"])
        deployed[str(pattern["source"])] = (pattern, sorted(fields))
    assert deployed == {str(rule.pattern["source"]): (rule.pattern, sorted(rule.fields)) for rule in RULES}


def test_the_simulation_has_the_schedule_of_the_stack(template: Template) -> None:
    [rule] = rules_with(template, "ScheduleExpression")
    assert rule["ScheduleExpression"] == f"rate({Settings().sweep_minutes} minutes)"
    assert Deployment().sweep_minutes == Settings().sweep_minutes


def test_the_simulation_delivers_events_as_lambda_does(template: Template) -> None:
    configs = template.resources("AWS::Lambda::EventInvokeConfig").values()
    for config in configs:
        assert config["Properties"]["MaximumEventAgeInSeconds"] == EVENT_AGE
        assert config["Properties"]["MaximumRetryAttempts"] == len(ASYNC_RETRIES)
    # And the reporter of batches, which the simulation has no rule for.
    assert len(configs) == len({rule.function for rule in RULES}) + 1
