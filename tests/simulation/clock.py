"""The virtual clock: what happens when, and in which order."""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime

# Any time serves; this one makes times easy to read.
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


class RanTooLong(Exception):
    """The schedule did not come to rest."""


class Clock:
    """`now` is in epoch seconds. Actions due at the same time run in the order they were planned."""

    def __init__(self) -> None:
        self.now = BEGINNING
        self._planned: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._planned, (self.now + seconds, self._serial, action))

    def run(self, *, most_actions: int) -> None:
        """Run until nothing is planned. Raise RanTooLong after `most_actions`."""
        for _ in range(most_actions):
            if not self._planned:
                return
            self.now, _, action = heapq.heappop(self._planned)
            action()
        raise RanTooLong(f"still busy after {most_actions} actions and {self.now - BEGINNING:.0f} seconds")
