"""EventBridge: the stack's rules, its schedule, and delivery that is at least once, or not at all."""

import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from functions.events import SCHEDULED_EVENT, execution_ended, query_ended
from tests.simulation.choices import Choices
from tests.simulation.clock import Clock
from tests.simulation.faults import Faults
from tests.simulation.lambdas import Lambdas, Note

WORK_GROUP = "the-work-group"
STATE_MACHINE_ARN = "arn:aws:states:eu-west-1:123456789012:stateMachine:queries"

# How late a late event is, at most.
LATE_SECONDS = 90.0


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`fields` are what the rule's input transformer keeps of an event's detail, beside the detail type."""

    function: str
    pattern: Mapping[str, Any]
    fields: tuple[str, ...]


# tests/template/test_simulated_rules.py compares these with the template.
RULES = (
    Rule(
        function="checker",
        pattern=query_ended(WORK_GROUP),
        fields=("queryExecutionId", "currentState", "workgroupName"),
    ),
    Rule(
        function="canceller",
        pattern=execution_ended(STATE_MACHINE_ARN),
        fields=("executionArn", "status", "redriveCount"),
    ),
)


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """EventBridge's matching, as far as exact values go."""
    return all(
        name in event and (event[name] in want if isinstance(want, list) else matches(want, event[name]))
        for name, want in pattern.items()
    )


class EventBus:
    """`lost` counts the events that were lost, by function."""

    def __init__(
        self,
        *,
        rules: tuple[Rule, ...],
        clock: Clock,
        choices: Choices,
        faults: Faults,
        lambdas: Lambdas,
        note: Note,
        slowest_event: float,
    ) -> None:
        self.under_way = 0
        self._rules = rules
        self._clock = clock
        self._choices = choices
        self._faults = faults
        self._lambdas = lambdas
        self._note = note
        self._slowest_event = slowest_event
        # What an input transformer writes for a field that the event does not have, which AWS does not
        # document.
        self._absent: Any = choices.pick((None, ""))

    def publish(self, event: Mapping[str, Any], subject: Any) -> None:
        for rule in self._rules:
            if not matches(rule.pattern, event):
                continue
            if self._faults.outage("EventBridge") or self._faults.happens("event lost"):
                self._note("events", f"to {rule.function}: lost")
                continue
            reduced = self._transform(rule, event)
            for _ in range(2 if self._faults.happens("event twice") else 1):
                self._deliver(rule.function, reduced, subject)

    def tick(self, function: str) -> None:
        """The schedule fires."""
        if self._faults.outage("EventBridge"):
            self._note("events", f"to {function}: the schedule does not fire")
            return
        self._deliver(function, {"detail-type": SCHEDULED_EVENT, "source": "aws.events", "detail": {}}, None)

    def _transform(self, rule: Rule, event: Mapping[str, Any]) -> dict[str, Any]:
        detail = {name: event["detail"].get(name, self._absent) for name in rule.fields}
        return {"detail-type": event["detail-type"], "detail": detail}

    def _deliver(self, function: str, event: Mapping[str, Any], subject: Any) -> None:
        delay = self._choices.between(0.0, self._slowest_event)
        if self._faults.happens("event late"):
            delay = self._choices.between(0.0, LATE_SECONDS)
            self._faults.last = max(self._faults.last, self._clock.now + delay)
        self.under_way += 1

        def arrive() -> None:
            self.under_way -= 1
            self._lambdas.deliver(function, copy.deepcopy(event), subject=subject)

        self._clock.after(delay, arrive)


class Schedule:
    """Calls `fire` every `period` seconds, at multiples of it from the beginning, while anything is under
    way.

    When `at_rest` it fires once more, so that what a sweep makes up for is made up for, and then stops, so
    that the virtual clock does. `wake` starts it again.
    """

    def __init__(
        self, period: float, *, clock: Clock, fire: Callable[[], None], at_rest: Callable[[], bool]
    ) -> None:
        self._period = period
        self._clock = clock
        self._fire = fire
        self._at_rest = at_rest
        self._planned = False

    def wake(self) -> None:
        if not self._planned:
            self._planned = True
            self._clock.after(self._period - self._clock.now % self._period, self._tick)

    def _tick(self) -> None:
        self._planned = False
        last = self._at_rest()
        self._fire()
        if not last:
            self.wake()


def transformed_fields(input_paths: Mapping[str, str], template: str) -> tuple[str, ...]:
    """The fields of an event's detail that an input transformer keeps, each under its own name.

    Raise ValueError for a transformer that does anything else beside keeping the detail type.
    """
    sample = re.sub(r"<([\w.-]+)>", lambda match: json.dumps(input_paths[match[1]]), template)
    document = json.loads(sample)
    detail = document.get("detail", {})
    plain = {"detail-type": "$.detail-type", "detail": {name: f"$.detail.{name}" for name in detail}}
    if document != plain:
        raise ValueError(f"unexpected input transformer: {template} with {input_paths}")
    return tuple(detail)
