"""What `make demo` runs: six queries whose outcomes are known, through the whole stack."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from ops.display import print_rows, print_run
from ops.execution import Run, follow, result_rows

if TYPE_CHECKING:
    from mypy_boto3_athena import AthenaClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

_ROWS_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A query, and how it has to end: `error` is None for success, `settled_by` who must have settled it."""

    title: str
    document: dict[str, Any]
    states: tuple[str, ...]
    error: str | None = None
    settled_by: tuple[str, ...] = ("event",)
    events: bool = True


SCENES = (
    Scene(
        title="An aggregate over 336,776 flights",
        document={
            "QueryString": """
                SELECT origin, count(*) AS flights, round(avg(dep_delay), 1) AS mean_delay_minutes
                FROM flights GROUP BY origin ORDER BY flights DESC"""
        },
        states=("Start query", "Done"),
    ),
    Scene(
        title="A join in Athena's own dialect",
        document={
            "QueryString": """
                SELECT a.name AS airline,
                       approx_percentile(f.arr_delay, 0.9) AS delay_of_the_worst_tenth,
                       date_format(max(f.time_hour), '%Y-%m-%d') AS last_flight,
                       cardinality(array_agg(DISTINCT f.dest)) AS destinations
                FROM flights f JOIN airlines a ON a.carrier = f.carrier
                WHERE date_diff('day', TIMESTAMP '2013-01-01 00:00:00', f.time_hour) < 180
                GROUP BY a.name ORDER BY destinations DESC"""
        },
        states=("Start query", "Done"),
    ),
    Scene(
        title="A query with parameters",
        document={
            "QueryString": """
                SELECT dest, count(*) AS flights FROM flights
                WHERE origin = ? AND distance > ? GROUP BY dest ORDER BY flights DESC""",
            "ExecutionParameters": ["'JFK'", "2000"],
        },
        states=("Start query", "Done"),
    ),
    Scene(
        title="A statement that Athena refuses",
        document={"QueryString": "SELEKT origin FROM flights"},
        states=("Start query",),
        error="AthenaQuery.InvalidRequest",
    ),
    Scene(
        title="A query that fails at run time",
        document={"QueryString": "SELECT CAST(tailnum AS integer) FROM flights"},
        states=("Start query",),
        error="AthenaQuery.Failed",
    ),
    Scene(
        title="A query whose event is lost",
        document={"QueryString": "SELECT count(*) AS planes FROM planes"},
        states=("Start query", "Get query status", "Check query status", "Done"),
        settled_by=("poll",),
        events=False,
    ),
)


def perform(
    console: Console,
    *,
    stepfunctions: "SFNClient",
    athena: "AthenaClient",
    s3: "S3Client",
    state_machine_arn: str,
    deliver_events: Callable[[str], None],
) -> bool:
    """Run every scene, then print the summary. Return whether each ended as it has to."""
    summary = Table(title="What happened", title_justify="left")
    for heading in ("query", "states entered", "ended", "settled by", "lag", "as it should"):
        summary.add_column(heading, justify="right" if heading == "lag" else "left")
    all_well = True
    for scene in SCENES:
        console.rule(f"[bold]{scene.title}", align="left")
        if not scene.events:
            console.print("Athena's events are switched off: the fallback branch has to find out.")
        deliver_events("normal" if scene.events else "off")
        run = follow(
            stepfunctions, state_machine_arn, scene.document, lambda name: console.print(f"  → {name}")
        )
        deliver_events("normal")
        print_run(console, run)
        if run.output and run.output["OutputLocation"]:
            names, rows, more = result_rows(s3, run.output["OutputLocation"], _ROWS_SHOWN)
            print_rows(console, names, rows, more=more)
        faults = unexpected(scene, run)
        all_well = all_well and not faults
        summary.add_row(
            scene.title,
            " → ".join(run.states),
            run.error or run.status,
            run.output["SettledBy"] if run.output else "",
            _lag(athena, run),
            "[green]yes" if not faults else f"[red]no: {'; '.join(faults)}",
        )
    console.print()
    console.print(summary)
    return all_well


def unexpected(scene: Scene, run: Run) -> list[str]:
    """In what the run differs from what the scene says, in words."""
    faults = []
    if run.error != scene.error or (run.status == "SUCCEEDED") != (scene.error is None):
        faults.append(f"expected {scene.error or 'success'}")
    if run.output and run.output["SettledBy"] not in scene.settled_by:
        faults.append(f"expected to be settled by {' or '.join(scene.settled_by)}")
    if tuple(run.states) != scene.states:
        faults.append(f"expected the states {', '.join(scene.states)}")
    return faults


def _lag(athena: "AthenaClient", run: Run) -> str:
    """From the query's end, by Athena's clock, to the execution's end."""
    if run.query_id is None or run.stopped is None:
        return ""
    query = athena.get_query_execution(QueryExecutionId=run.query_id)["QueryExecution"]
    lag = run.stopped - query["Status"]["CompletionDateTime"]
    return f"{lag.total_seconds():.2f} s"
