"""EventBridge: the two rules, and delivery that is at least once, or not at all."""

import copy
from collections.abc import Mapping
from typing import Any

from functions.events import execution_ended, query_ended
from tests.simulation.choices import Choices
from tests.simulation.clock import Clock
from tests.simulation.faults import Faults
from tests.simulation.lambdas import Lambdas, Note

Rules = Mapping[str, Mapping[str, Any]]
RULES: Rules = {"checker": query_ended("the-work-group"), "canceller": execution_ended("the-machine")}

# How late a late event is, at most.
LATE_SECONDS = 90.0


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """EventBridge's matching, as far as exact values go."""
    return all(
        name in event and (event[name] in want if isinstance(want, list) else matches(want, event[name]))
        for name, want in pattern.items()
    )


class EventBus:
    """`lost` holds the events that were lost."""

    def __init__(
        self,
        *,
        rules: Rules,
        clock: Clock,
        choices: Choices,
        faults: Faults,
        lambdas: Lambdas,
        note: Note,
        slowest_event: float,
    ) -> None:
        self.lost: list[Mapping[str, Any]] = []
        self._rules = rules
        self._clock = clock
        self._choices = choices
        self._faults = faults
        self._lambdas = lambdas
        self._note = note
        self._slowest_event = slowest_event

    def publish(self, event: Mapping[str, Any], subject: Any) -> None:
        for function, pattern in self._rules.items():
            if not matches(pattern, event):
                continue
            if self._faults.happens("event lost"):
                self._note("events", f"to {function}: lost")
                self.lost.append(event)
                continue
            for _ in range(2 if self._faults.happens("event twice") else 1):
                self._deliver(function, event, subject)

    def _deliver(self, function: str, event: Mapping[str, Any], subject: Any) -> None:
        delay = self._choices.between(0.0, self._slowest_event)
        if self._faults.happens("event late"):
            delay = self._choices.between(0.0, LATE_SECONDS)
            self._faults.last = max(self._faults.last, self._clock.now + delay)
        self._clock.after(
            delay, lambda: self._lambdas.deliver(function, copy.deepcopy(event), subject=subject)
        )
