"""How executions and rows look in a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ops.execution import Run


def print_run(console: Console, run: Run) -> None:
    """One line on how the run ended, and what its error says."""
    if run.output:
        statistics = run.output["Statistics"]
        console.print(
            f"[green]{run.status}[/] in {run.seconds:.2f} s, settled by {run.output['SettledBy']}, "
            f"{statistics['DataScannedInBytes']:,} bytes scanned, "
            f"about {run.output['EstimatedCostUsd']:.6f} USD on AWS"
        )
        return
    console.print(f"[red]{run.status}[/] in {run.seconds:.2f} s: [bold]{run.error}[/]")
    if isinstance(run.cause, dict) and "Reason" in run.cause:
        console.print(f"  {escape(run.cause['Reason'])}")
        console.print(f"  [dim]{escape(run.cause['Advice'])}")
    elif run.cause:
        console.print(f"  {escape(str(run.cause))}")


def print_rows(console: Console, names: list[str], rows: list[list[str]], *, more: bool) -> None:
    table = Table()
    for name in names:
        table.add_column(escape(name))
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
    if more:
        console.print("[dim]… and more rows")
