"""Records what leaves the functions, and what must not be in it, to a file of JSON lines for tests.

A line is `[kind, text]`: "secret" is a task token or a statement that the executor received; "log", "event"
and "dead letter" are what is written or sent elsewhere.
"""

import json
import threading
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["secret", "log", "event", "dead letter"]


class Recorder:
    """Records nothing until it has a file."""

    def __init__(self) -> None:
        self.file: Path | None = None
        self._lock = threading.Lock()

    def record(self, kind: Kind, text: str) -> None:
        if self.file and text:
            with self._lock, self.file.open("a") as file:
                file.write(json.dumps([kind, text]) + "\n")

    def record_secrets(self, event: Any) -> None:
        """The secrets in what "Start query", "Wait" and "Failed" pass to the executor."""
        if not (self.file and isinstance(event, dict) and "TaskToken" in event):
            return
        self.record("secret", event["TaskToken"])
        given = event.get("Execution", {}).get("Input")
        if isinstance(given, dict):
            values = [given.get("QueryString"), *(given.get("ExecutionParameters") or [])]
            for value in values:
                if isinstance(value, str):
                    self.record("secret", value)


recorder = Recorder()
