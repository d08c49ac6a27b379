"""Faults: random ones at a rate, until a time; and outages, each of one service from one time to another."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tests.simulation.choices import Choices
from tests.simulation.clock import Clock

# What can happen to one AWS call of a function, botocore's own retries included.
CALL_FAULTS = (
    "call throttled",
    "call failed before its effect",
    "call failed after its effect",
    "call took effect twice",
    "call slow",
    "function crashed before a call",
    "function crashed after a call",
    "function timed out before a call",
    "function timed out after a call",
)
INVOKE_FAULTS = (
    "invocation refused",
    "invocation late",
    "invocation's answer lost",
)
EVENT_FAULTS = (
    "event lost",
    "event twice",
    "event late",
    "event before its time",
    "event untrue",
    "event of an unknown query",
)
ANSWER_FAULTS = ("batch answered in part",)
ALL_FAULTS = (*CALL_FAULTS, *INVOKE_FAULTS, *EVENT_FAULTS, *ANSWER_FAULTS)

# What an outage stops. The first four refuse calls, the next three are functions that Lambda refuses to run,
# and without EventBridge neither events nor the schedule are delivered.
Service = Literal[
    "GetQueryExecution",
    "Athena",
    "DynamoDB",
    "Step Functions callbacks",
    "executor",
    "checker",
    "canceller",
    "EventBridge",
]
SERVICES: tuple[Service, ...] = (
    "GetQueryExecution",
    "Athena",
    "DynamoDB",
    "Step Functions callbacks",
    "executor",
    "checker",
    "canceller",
    "EventBridge",
)

# "calm" has no faults, "events" only those of events and of batches, "storm" any.
FaultLevel = Literal["calm", "events", "storm"]

# "refuse": calls answer an error at once. "hang": they answer nothing until the function's time is over.
OutageMode = Literal["refuse", "hang"]


@dataclass(frozen=True, kw_only=True)
class Outage:
    """`begins` and `ends` are in epoch seconds."""

    service: Service
    begins: float
    ends: float
    mode: OutageMode = "refuse"


@dataclass(frozen=True, kw_only=True)
class FaultProfile:
    """`until` is in epoch seconds: random faults cease then, so that what must happen in the end can be
    judged.
    """

    kinds: frozenset[str] = frozenset()
    rate: float = 0.0
    until: float = 0.0
    outages: tuple[Outage, ...] = ()

    @property
    def level(self) -> FaultLevel:
        if self.outages or self.kinds.difference(EVENT_FAULTS, ANSWER_FAULTS):
            return "storm"
        return "events" if self.kinds else "calm"


class Faults:
    """Injects faults, counts them, and remembers when the last one had an effect (epoch seconds)."""

    def __init__(self, profile: FaultProfile, choices: Choices, clock: Clock) -> None:
        self.profile = profile
        self.injected: Counter[str] = Counter()
        self.last = clock.now
        self._choices = choices
        self._clock = clock
        self._call_kinds = [kind for kind in CALL_FAULTS if kind in profile.kinds]

    @property
    def ceased(self) -> bool:
        """Whether no fault is to come."""
        now = self._clock.now
        over = all(outage.ends <= now for outage in self.profile.outages)
        return over and (now >= self.profile.until or not self.profile.kinds)

    def happens(self, kind: str, *, lasting: float = 0.0) -> bool:
        """Decide whether a fault of this kind happens now, whose effect lasts for `lasting` seconds."""
        if kind not in self.profile.kinds or self._clock.now >= self.profile.until:
            return False
        if not self._choices.chance(self.profile.rate):
            return False
        self.count(kind, lasting=lasting)
        return True

    def of_call(self) -> str | None:
        """The random fault of an AWS call that is made now, if any."""
        if not self._call_kinds or self._clock.now >= self.profile.until:
            return None
        if not self._choices.chance(self.profile.rate):
            return None
        kind = self._choices.pick(self._call_kinds)
        self.count(kind)
        return kind

    def outage(self, *services: str) -> Outage | None:
        """The outage of one of the services that is under way, if any."""
        for outage in self.profile.outages:
            if outage.service in services and outage.begins <= self._clock.now < outage.ends:
                self.count(f"outage of {outage.service}")
                return outage
        return None

    def count(self, kind: str, *, lasting: float = 0.0) -> None:
        """Count a fault whose effect lasts for `lasting` seconds from now."""
        self.injected[kind] += 1
        self.last = max(self.last, self._clock.now + lasting)


def pick_kinds(choices: Choices, offered: Sequence[str], likely: float) -> frozenset[str]:
    return frozenset(kind for kind in offered if choices.chance(likely))
