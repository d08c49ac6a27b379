"""The fault profile of a schedule: which faults there are, how often, and until when."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from tests.simulation.choices import Choices
from tests.simulation.clock import Clock

# What can befall one AWS call of a function, botocore's own retries included.
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
    "event of a stranger",
)

FaultLevel = Literal["calm", "events", "storm"]


@dataclass(frozen=True, kw_only=True)
class FaultProfile:
    """`until` is in epoch seconds: faults cease, so that what must happen in the end can be judged.

    Level "calm" has no faults, "events" only those of events, "storm" any. Athena's own answers, aborts and
    redrives come under every level.
    """

    level: FaultLevel
    kinds: frozenset[str]
    rate: float
    until: float


def draw_fault_profile(choices: Choices, clock: Clock) -> FaultProfile:
    """A few kinds of fault for each schedule, so that they meet in clusters and not as a drizzle of all."""
    level: FaultLevel = choices.pick(("calm", "events", "storm", "storm", "storm", "storm"))
    offered = {"calm": (), "events": EVENT_FAULTS, "storm": EVENT_FAULTS + INVOKE_FAULTS + CALL_FAULTS}[level]
    likely = choices.pick((0.2, 0.5))
    return FaultProfile(
        level=level,
        kinds=frozenset(kind for kind in offered if choices.chance(likely)),
        rate=choices.pick((0.05, 0.15, 0.4)),
        until=clock.now + choices.pick((5.0, 60.0, 400.0)),
    )


class Faults:
    """Injects faults, counts them, and remembers when the last one was felt (epoch seconds)."""

    def __init__(self, profile: FaultProfile, choices: Choices, clock: Clock) -> None:
        self.profile = profile
        self.injected: Counter[str] = Counter()
        self.last = clock.now
        self._choices = choices
        self._clock = clock
        self._call_kinds = [kind for kind in CALL_FAULTS if kind in profile.kinds]

    def happens(self, kind: str) -> bool:
        """Decide whether a fault of this kind happens now."""
        if kind not in self.profile.kinds or self._clock.now >= self.profile.until:
            return False
        if not self._choices.chance(self.profile.rate):
            return False
        self.felt(kind)
        return True

    def of_call(self) -> str | None:
        """The fault that befalls an AWS call made now, if any."""
        if not self._call_kinds or self._clock.now >= self.profile.until:
            return None
        if not self._choices.chance(self.profile.rate):
            return None
        kind = self._choices.pick(self._call_kinds)
        self.felt(kind)
        return kind

    def felt(self, kind: str, *, after: float = 0.0) -> None:
        """Count a fault whose effect is felt for `after` seconds from now."""
        self.injected[kind] += 1
        self.last = max(self.last, self._clock.now + after)
