"""What the functions report: their log lines and their metrics, each with the invocation that wrote it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

from functions.observability import logger, metrics
from tests.simulation.lambdas import Invocation

if TYPE_CHECKING:
    from logging import StreamHandler


@dataclass
class Reports:
    """`lines` are JSON texts, `metrics` `(name, value)`, each after the invocation that wrote it."""

    lines: list[tuple[Invocation | None, str]] = field(default_factory=list)
    metrics: list[tuple[Invocation | None, str, float]] = field(default_factory=list)

    def metrics_by_name(self) -> list[tuple[str, float]]:
        return [(name, value) for _, name, value in self.metrics]


@contextmanager
def recorded(reports: Reports, current: Callable[[], Invocation | None]) -> Iterator[None]:
    """Collect what the functions report while the context lasts."""
    handler = cast("StreamHandler[Any]", logger.handlers[0])

    def add_metric(name: str, _unit: str, value: float) -> None:
        reports.metrics.append((current(), name, value))

    before = handler.setStream(_Lines(lambda line: reports.lines.append((current(), line))))
    try:
        with patch.object(metrics, "add_metric", add_metric):
            yield
    finally:
        handler.setStream(before)


class _Lines:
    """A stream for a logging handler."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write

    def flush(self) -> None:
        pass
