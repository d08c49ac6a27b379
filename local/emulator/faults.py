"""Faults on demand: lost, duplicate, late or early Athena events; crashes of functions; outages of AWS APIs.

Random faults are an option of `python -m local up`:
`--chaos "drop=0.3,duplicate=0.2,delay=0-2s,early=0.2,crash=0.1,seed=7"`.
"""

import random
import re
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

When = Literal["before", "after"]

_SHARES = ("drop", "duplicate", "early", "crash")
_ALLOWED = (
    "drop=, duplicate=, early=, crash= with a share from 0 to 1, delay=0-2s, seed=7, separated by commas"
)
NO_CAPACITY = "TooManyRequestsException"
RATE_LIMIT = "ThrottlingException"
TRANSIENT = "TRANSIENT"
_ATHENA_ERRORS = (NO_CAPACITY, RATE_LIMIT, TRANSIENT)
# A random crash happens at one of a function's first AWS calls.
_LAST_CALL = 6


@dataclass(frozen=True, kw_only=True)
class FaultSpec:
    """Shares, from 0 to 1, of lost, repeated and early events, and of invocations that crash.

    `delay` is the range of seconds by which an event is late. The last attempt of an asynchronous invocation
    does not crash: it would leave a dead letter, whose replay is the operator's.
    """

    drop: float = 0
    duplicate: float = 0
    early: float = 0
    crash: float = 0
    delay: tuple[float, float] = (0, 0)
    seed: int = 0

    @classmethod
    def parse(cls, text: str) -> "FaultSpec":
        """Raise ValueError that names what is invalid and what is allowed."""
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
                raise ValueError(f"chaos {part.strip()!r} is invalid; allowed: {_ALLOWED}")
        return cls(**given)


@dataclass(frozen=True, kw_only=True)
class Crash:
    """A function's process ends at its `call`-th AWS call, before or after AWS has done what it asks."""

    call: int
    when: When


@dataclass
class Faults:
    """Decides which faults happen, and counts them."""

    spec: FaultSpec = field(default_factory=FaultSpec)
    # One per invocation, by the function's module: executor, checker, canceller.
    crashes: dict[str, deque[Crash]] = field(default_factory=dict)
    # What Athena does next: an error code of StartQueryExecution, or TRANSIENT, which fails a query as if
    # Athena had run out of resources.
    athena_errors: deque[str] = field(default_factory=deque)
    # The error code by the pattern of operations that fail with it.
    outages: dict[str, str] = field(default_factory=dict)
    # How long a query runs at least, in seconds.
    query_seconds: float = 0
    injected: Counter[str] = field(default_factory=Counter)
    _random: random.Random = field(default_factory=random.Random)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def configure(self, spec: FaultSpec) -> None:
        self.spec = spec
        self._random.seed(spec.seed)

    def happens(self, kind: str) -> bool:
        """Whether a fault of this kind, one of the shares of FaultSpec, happens now."""
        with self._lock:
            if self._random.random() >= getattr(self.spec, kind):
                return False
            self.injected[kind] += 1
            return True

    def delay(self) -> float:
        """The delay of an event, in seconds."""
        with self._lock:
            return self._random.uniform(*self.spec.delay)

    def inject_crash(self, function: str, call: int, when: When) -> None:
        self.crashes.setdefault(function, deque()).append(Crash(call=call, when=when))

    def next_crash(self, function: str, *, last_attempt: bool) -> Crash | None:
        """Whether and where the invocation that starts now crashes."""
        with self._lock:
            if self.crashes.get(function):
                return self.crashes[function].popleft()
        if last_attempt or not self.happens("crash"):
            return None
        with self._lock:
            return Crash(
                call=self._random.randint(1, _LAST_CALL), when=self._random.choice(("before", "after"))
            )

    def inject_athena_error(self, error: str) -> None:
        if error not in _ATHENA_ERRORS:
            raise ValueError(f"{error!r} is not an error of Athena; allowed: {', '.join(_ATHENA_ERRORS)}")
        self.athena_errors.append(error)

    def next_athena_error(self, *errors: str) -> str | None:
        """The next injected error, if it is one of these."""
        with self._lock:
            found = bool(self.athena_errors) and self.athena_errors[0] in errors
            return self.athena_errors.popleft() if found else None

    def hold_queries(self, seconds: float) -> None:
        """Make queries that start from now on run for at least so long."""
        self.query_seconds = seconds

    def set_outages(self, outages: dict[str, str]) -> None:
        """Make operations fail from now on: the error code by a pattern such as `dynamodb:*`."""
        self.outages = outages

    def outage(self, operation: str) -> str | None:
        """The error code that the operation, such as `athena:GetQueryExecution`, fails with."""
        for pattern, error in self.outages.items():
            if fnmatchcase(operation.lower(), pattern.lower()):
                return error
        return None


faults = Faults()
