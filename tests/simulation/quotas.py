"""Service quotas: the call rates of AWS's APIs, and Athena's number of active queries."""

from collections import Counter
from collections.abc import Callable, Mapping

from tests.simulation.clock import Clock

# Calls per second and burst (Athena user guide and Step Functions developer guide, "Service quotas").
RATES: Mapping[str, tuple[float, float]] = {
    "StartQueryExecution": (20, 80),
    "StopQueryExecution": (20, 80),
    "GetQueryExecution": (100, 200),
    "BatchGetQueryExecution": (20, 40),
    "SendTask": (500, 3_000),
    "StartExecution": (300, 1_300),
}
# Queued and running DML queries in us-east-1 by default (AWS General Reference, "Amazon Athena endpoints and
# quotas").
ACTIVE_QUERIES = 200

_SHARED = {"SendTaskSuccess": "SendTask", "SendTaskFailure": "SendTask", "SendTaskHeartbeat": "SendTask"}


class Quotas:
    """`active_queries` returns their present number. `attempts` is how often botocore makes a call that is
    throttled. `throttles` counts the refusals by operation and error code.
    """

    def __init__(self, clock: Clock, active_queries: Callable[[], int], attempts: int) -> None:
        self.attempts = attempts
        self.throttles: Counter[tuple[str, str]] = Counter()
        self._clock = clock
        self._active_queries = active_queries
        self._buckets = {name: (burst, clock.now) for name, (_, burst) in RATES.items()}

    def refusal(self, operation: str) -> str | None:
        """The error code with which a call that is made now is refused; None if it is accepted."""
        code = None
        if not self._take(_SHARED.get(operation, operation)):
            code = "ThrottlingException"
        elif operation == "StartQueryExecution" and self._active_queries() >= ACTIVE_QUERIES:
            code = "TooManyRequestsException"
        if code:
            self.throttles[operation, code] += 1
        return code

    def _take(self, name: str) -> bool:
        """Take a token from the operation's bucket, unless that is empty."""
        if name not in RATES:
            return True
        rate, burst = RATES[name]
        left, since = self._buckets[name]
        left = min(burst, left + rate * (self._clock.now - since))
        taken = left >= 1
        self._buckets[name] = (left - taken, self._clock.now)
        return taken
