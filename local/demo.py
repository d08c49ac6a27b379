"""The command `demo`: six queries through the whole stack, each with its expected outcome."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from local.stack import Stack
from ops.display import print_rows, print_run
from ops.execution import Run, follow, read_rows, start

if TYPE_CHECKING:
    from mypy_boto3_athena import AthenaClient

_ROWS_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A query and its expected outcome.

    `error` is None for success; `settled_by` is what must detect the completion, `event` or `poll`; without
    `events`, Athena's events are lost.
    """

    title: str
    document: dict[str, Any]
    states: tuple[str, ...]
    error: str | None = None
    settled_by: str = "event"
    events: bool = True


# A sample, its execution, and the lag between the query's completion and the execution's end.
Result = tuple[Sample, Run, str]

SAMPLES = (
    Sample(
        title="An aggregate over 336,776 flights",
        document={
            "QueryString": """
                SELECT origin, count(*) AS flights, round(avg(dep_delay), 1) AS mean_delay_minutes
                FROM flights GROUP BY origin ORDER BY flights DESC"""
        },
        states=("Start query", "Done"),
    ),
    Sample(
        title="A join in Athena's dialect",
        document={
            "QueryString": """
                SELECT a.name AS airline,
                       approx_percentile(f.arr_delay, 0.9) AS delay_p90_minutes,
                       date_format(max(f.time_hour), '%Y-%m-%d') AS last_flight,
                       cardinality(array_agg(DISTINCT f.dest)) AS destinations
                FROM flights f JOIN airlines a ON a.carrier = f.carrier
                WHERE date_diff('day', TIMESTAMP '2013-01-01 00:00:00', f.time_hour) < 180
                GROUP BY a.name ORDER BY destinations DESC"""
        },
        states=("Start query", "Done"),
    ),
    Sample(
        title="A query with parameters",
        document={
            "QueryString": """
                SELECT dest, count(*) AS flights FROM flights
                WHERE origin = ? AND distance > ? GROUP BY dest ORDER BY flights DESC""",
            "ExecutionParameters": ["'JFK'", "2000"],
        },
        states=("Start query", "Done"),
    ),
    Sample(
        title="A statement that Athena rejects",
        document={"QueryString": "SELEKT origin FROM flights"},
        states=("Start query",),
        error="AthenaQuery.InvalidRequest",
    ),
    Sample(
        title="A query that fails at run time",
        document={"QueryString": "SELECT CAST(tailnum AS integer) FROM flights"},
        states=("Start query",),
        error="AthenaQuery.Failed",
    ),
    Sample(
        title="A query whose event is lost",
        document={"QueryString": "SELECT count(*) AS planes FROM planes"},
        states=("Start query", "Get query status", "Check query status", "Done"),
        settled_by="poll",
        events=False,
    ),
)


def run(console: Console, stack: Stack) -> bool:
    """Run every sample, then print a summary. Return whether each had its expected outcome."""
    athena, stepfunctions = stack.client("athena"), stack.client("stepfunctions")
    results: list[Result] = []
    for sample in SAMPLES:
        console.rule(f"[bold]{sample.title}", align="left")
        if not sample.events:
            console.print("Athena's events are switched off, so the fallback branch polls.")
        stack.deliver_events("normal" if sample.events else "off")
        arn = start(stepfunctions, stack.outputs["StateMachineArn"], sample.document)
        ended = follow(stepfunctions, arn, lambda name: console.print(f"  → {name}"))
        stack.deliver_events("normal")
        print_run(console, ended)
        if ended.output:
            print_rows(console, read_rows(athena, ended.output["QueryId"], _ROWS_SHOWN))
        results.append((sample, ended, _lag(athena, ended)))
    console.print()
    console.print(summarize(results))
    differences = [f"{sample.title}: {one}" for sample, ended, _ in results for one in compare(sample, ended)]
    for difference in differences:
        console.print(f"[red]{difference}")
    return not differences


def summarize(results: list[Result]) -> Table:
    """A table of the outcomes, which fits into 80 columns."""
    table = Table(title="Summary", title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("query")
    # An error's name is what a caller catches: never cut, whatever the width.
    table.add_column("outcome", no_wrap=True)
    table.add_column("detected by", no_wrap=True)
    table.add_column("expected")
    for sample, ended, lag in results:
        table.add_row(
            sample.title,
            ended.error or ended.status,
            f"{ended.output['SettledBy']}, {lag}" if ended.output else "",
            "[red]no" if compare(sample, ended) else "[green]yes",
        )
    return table


def compare(sample: Sample, ended: Run) -> list[str]:
    """How the execution differs from the sample's expected outcome."""
    differences = []
    if ended.error != sample.error or (ended.status == "SUCCEEDED") != (sample.error is None):
        differences.append(f"expected {sample.error or 'success'}")
    # An event that arrives before the task token, as on a busy machine, is settled by the executor.
    detected = ended.output["SettledBy"].replace("executor", "event") if ended.output else None
    if detected not in (None, sample.settled_by):
        differences.append(f"expected detection by {sample.settled_by}")
    if tuple(ended.states) != sample.states:
        differences.append(f"expected the states {', '.join(sample.states)}")
    return differences


def _lag(athena: "AthenaClient", ended: Run) -> str:
    """From the query's completion, by Athena's clock, to the execution's end."""
    if ended.query_id is None or ended.stopped is None:
        return ""
    query = athena.get_query_execution(QueryExecutionId=ended.query_id)["QueryExecution"]
    lag = ended.stopped - query["Status"]["CompletionDateTime"]
    return f"{lag.total_seconds():.2f} s later"
