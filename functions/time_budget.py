"""How much of its time limit the running invocation has left, so that it never dies in the middle of a
call.
"""

import math
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError

if TYPE_CHECKING:
    from collections.abc import Callable


class OutOfTime(BotoCoreError):
    """The function gives up before a call that could outlast its time limit. ASL or Lambda calls it again."""

    fmt = "not enough time left for another call"


class TimeBudget:
    """Of the process: Lambda runs one invocation at a time in it."""

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
