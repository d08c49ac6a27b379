"""Executions and rows in a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from ops.execution import Rows, Run

_WIDTH_OF_FILES = 140


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let `cli.run` handle it, as for `print`."""
        raise BrokenPipeError


def make_console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, or of a fixed width where the output goes to a file or a pipe."""
    console = _Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_FILES
    return console


def print_run(console: Console, run: Run) -> None:
    """One line on how the execution ended, and the reason of a failure."""
    if run.output:
        statistics = run.output["Statistics"]
        console.print(
            f"[green]{run.status}[/] in {run.seconds:.2f} s, detected by {run.output['SettledBy']}, "
            f"{statistics['DataScannedInBytes']:,} bytes scanned, "
            f"estimated cost {run.output['EstimatedCostUsd']:.6f} USD"
        )
        return
    console.print(f"[red]{run.status}[/] in {run.seconds:.2f} s: [bold]{run.error or 'no error name'}[/]")
    if isinstance(run.cause, dict) and "Reason" in run.cause:
        console.print(f"  {escape(run.cause['Reason'])}")
        console.print(f"  [dim]{escape(run.cause['Advice'])}")
    elif run.cause:
        console.print(f"  {escape(str(run.cause))}")


def print_rows(console: Console, result: Rows) -> None:
    table = Table()
    for name in result.columns:
        table.add_column(escape(name), overflow="fold")
    for row in result.rows:
        table.add_row(*("[dim]NULL" if cell is None else escape(cell) for cell in row))
    console.print(table)
    if result.more:
        console.print(f"[dim]first {len(result.rows)} rows; there are more")


class Download:
    """Shows how much of a download has arrived."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=None)

    def update(self, received: int, total: int) -> None:
        self._progress.update(self._task, completed=received, total=total)


@contextmanager
def download_progress(console: Console, name: str) -> Iterator[Download]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        yield Download(progress, name)
