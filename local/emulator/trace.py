"""Records when invocations and their AWS calls begin and end, to a file of JSON lines for benchmarks.

A line is `[epoch seconds, environment, step]`. The steps of an invocation are "requested", with the id of the
query that it is for as a fourth element, "started", and "received" and "answered" with the name of each call.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Tracer:
    """Records nothing until it has a file."""

    def __init__(self) -> None:
        self.file: Path | None = None
        self._lock = threading.Lock()

    def record_start(self, environment: str, requested: float, payload: str) -> None:
        """`requested` is when the invocation began to wait for the environment, which has now begun to run
        it.
        """
        if self.file:
            event = json.loads(payload)
            detail = event.get("detail") if isinstance(event, dict) else None
            query_id = detail.get("queryExecutionId") if isinstance(detail, dict) else None
            self._write(requested, environment, "requested", query_id)
            self._write(time.time(), environment, "started")

    @contextmanager
    def call(self, environment: str, target: str) -> Iterator[None]:
        """An AWS call while it lasts. `target` is its X-Amz-Target header."""
        if not (self.file and environment):
            yield
            return
        operation = target.rpartition(".")[2]
        self._write(time.time(), environment, f"received {operation}")
        try:
            yield
        finally:
            self._write(time.time(), environment, f"answered {operation}")

    def _write(self, at: float, *rest: str | None) -> None:
        if self.file:
            with self._lock, self.file.open("a") as file:
                file.write(json.dumps([at, *rest]) + "\n")


tracer = Tracer()
