"""Shows the steps of a start with the time that each takes, on stderr."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn


class Steps:
    """`begin` ends the previous step. In a terminal, the time of the running step is updated."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            TextColumn("[dim]{task.elapsed:.1f} s"),
            console=console,
        )
        self._task: TaskID | None = None
        self._name = ""
        self._began = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._end()
        if self._console.is_terminal:
            self._progress.stop()

    def begin(self, name: str) -> None:
        self._end()
        self._name, self._began = name, time.monotonic()
        self._task = self._progress.add_task(name, total=1)

    def _end(self) -> None:
        if self._task is None:
            return
        self._progress.update(self._task, completed=1)
        self._progress.stop_task(self._task)
        if not self._console.is_terminal:
            self._console.print(f"{self._name}: {time.monotonic() - self._began:.1f} s")
