"""Faults on purpose: Athena's events lost, repeated, late or early; functions killed at an AWS call.

Given to `python -m local up --chaos "drop=0.3,duplicate=0.2,delay=0-2s,early=0.2,crash=0.1,seed=7"`.
"""

import random
import re
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Literal

When = Literal["before", "after"]

_SHARES = ("drop", "duplicate", "early", "crash")
_ALLOWED = (
    "drop=, duplicate=, early=, crash= with a share from 0 to 1, delay=0-2s, seed=7, with commas in between"
)
NO_CAPACITY = "TooManyRequestsException"
RATE_LIMIT = "ThrottlingException"
TRANSIENT = "TRANSIENT"
_ATHENA_ERRORS = (NO_CAPACITY, RATE_LIMIT, TRANSIENT)
# Of a function's AWS calls, the one at which it is killed.
_LAST_CALL = 6


@dataclass(frozen=True, kw_only=True)
class FaultSpec:
    """Shares from 0 to 1: of events that are lost, repeated, early; of invocations that are killed.

    `delay` is the range of seconds that an event may be late.
    """

    drop: float = 0
    duplicate: float = 0
    early: float = 0
    crash: float = 0
    delay: tuple[float, float] = (0, 0)
    seed: int = 0

    @classmethod
    def parse(cls, text: str) -> "FaultSpec":
        """Raise ValueError that says what is wrong and what is allowed."""
        given: dict[str, Any] = {}
        for part in filter(None, text.split(",")):
            name, _, value = part.strip().partition("=")
            if name in _SHARES and re.fullmatch(r"0(\.\d+)?|1(\.0+)?|\.\d+", value):
                given[name] = float(value)
            elif name == "seed" and value.isdecimal():
                given[name] = int(value)
            elif name == "delay" and (match := re.fullmatch(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)s", value)):
                given[name] = (float(match[1]), float(match[2]))
            else:
                raise ValueError(f"chaos {part.strip()!r} is not understood; it must be {_ALLOWED}")
        return cls(**given)


@dataclass(kw_only=True)
class Kill:
    """Kill a function at its `call`-th AWS call, before or after AWS has done what it asks."""

    call: int
    when: When


@dataclass
class Faults:
    """Decides which faults happen, and counts them.

    Some are ordered one by one: `kills` by the handler's name, `athena` by what Athena does next, which is an
    error code of StartQueryExecution, or TRANSIENT: a query fails as if Athena had run out of resources.
    """

    chaos: FaultSpec | None = None
    kills: dict[str, deque[Kill]] = field(default_factory=dict)
    athena: deque[str] = field(default_factory=deque)
    injected: Counter[str] = field(default_factory=Counter)
    _random: random.Random = field(default_factory=random.Random)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, chaos: FaultSpec) -> None:
        self.chaos = chaos
        self._random.seed(chaos.seed)

    def happens(self, kind: str) -> bool:
        """Whether a fault of this kind, one of the shares of FaultSpec, happens now."""
        with self._lock:
            if self.chaos is None or self._random.random() >= getattr(self.chaos, kind):
                return False
            self.injected[kind] += 1
            return True

    def delay(self) -> float:
        """By how many seconds an event is late."""
        with self._lock:
            return self._random.uniform(*self.chaos.delay) if self.chaos else 0

    def inject_crash(self, function: str, call: int, when: When) -> None:
        self.kills.setdefault(function, deque()).append(Kill(call=call, when=when))

    def inject_athena_error(self, what: str) -> None:
        if what not in _ATHENA_ERRORS:
            raise ValueError(
                f"{what!r} is not an error of Athena; it must be one of {', '.join(_ATHENA_ERRORS)}"
            )
        self.athena.append(what)

    def next_of_athena(self, *kinds: str) -> str | None:
        """What was ordered next, if it is of these kinds."""
        with self._lock:
            return self.athena.popleft() if self.athena and self.athena[0] in kinds else None

    def next_kill(self, function: str) -> Kill | None:
        """Whether and where the invocation that begins now is killed."""
        if self.kills.get(function):
            return self.kills[function].popleft()
        if self.happens("crash"):
            with self._lock:
                call = self._random.randint(1, _LAST_CALL)
                return Kill(call=call, when=self._random.choice(("before", "after")))
        return None


faults = Faults()
