"""The remaining time of the running invocation, so that a function fails by itself and not in the middle of
a call.
"""

import math
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError

if TYPE_CHECKING:
    from collections.abc import Callable


class OutOfTime(BotoCoreError):
    """The function fails before a call that could exceed its time limit. ASL or Lambda retries it."""

    fmt = "not enough time left for another call"


class TimeBudget:
    """One for the process, in which Lambda runs one invocation at a time."""

    def __init__(self) -> None:
        self._remaining_ms: Callable[[], float] = lambda: math.inf

    def begin(self, context: Any) -> None:
        """Take the time limit of the invocation from its Lambda context."""
        self._remaining_ms = context.get_remaining_time_in_millis

    def require(self, seconds: float) -> None:
        """Raise OutOfTime if less than this is left."""
        if self._remaining_ms() < seconds * 1000:
            raise OutOfTime


time_budget = TimeBudget()
