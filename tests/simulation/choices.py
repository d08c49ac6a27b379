"""Where a schedule's decisions come from: a seed (fast) or Hypothesis (shrinks)."""

import random
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")

_STEPS = 1_000


class Choices(Protocol):
    """Decisions, drawn one by one. Each shrinks towards the dull: False, the low end, the first option."""

    def chance(self, probability: float) -> bool: ...

    def between(self, low: float, high: float) -> float: ...

    def pick(self, options: Sequence[T]) -> T: ...

    def jitter(self, delay: float) -> float:
        """A share of the delay. It is random in any case: no adversary draws almost zero 150 times."""
        ...


class SeededChoices:
    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed).random  # noqa: S311 — decides a test's schedule, guards nothing

    def chance(self, probability: float) -> bool:
        return self._draw() < probability

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._draw()

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self._draw() * len(options))]

    def jitter(self, delay: float) -> float:
        return self.between(0.0, delay)


class DrawnChoices:
    """`draw` is Hypothesis' `data.draw`."""

    _STEP = st.integers(0, _STEPS)

    def __init__(self, draw: Callable[[st.SearchStrategy[int]], int]) -> None:
        self._draw = draw
        self._random = random.Random(draw(st.integers(0, 2**32)))  # noqa: S311 — as above

    def chance(self, probability: float) -> bool:
        if probability <= 0:
            return False
        return self._draw(self._STEP) > _STEPS * (1 - probability)

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._draw(self._STEP) / _STEPS

    def pick(self, options: Sequence[T]) -> T:
        return options[self._draw(st.integers(0, len(options) - 1))]

    def jitter(self, delay: float) -> float:
        return self._random.uniform(0.0, delay)
