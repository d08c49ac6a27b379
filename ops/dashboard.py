"""Renders the deployed dashboard: GetDashboard has its definition, GetMetricData the points."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.deployment import Deployment
from ops.errors import CommandError, ExitCode

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

# Periods of GetMetricData, in seconds, and the points that a graph of this size shows.
_PERIODS = (1, 5, 10, 30, 60, 300, 900, 3_600, 21_600)
_POINTS = 90
# Of a widget that names none (CloudWatch API reference, "Dashboard body structure and syntax").
_DEFAULT_PERIOD = 300

# One-minute points are kept for 15 days (CloudWatch user guide, "Metrics retention").
MAX_HOURS = 15 * 24


@dataclass(frozen=True, kw_only=True)
class Line:
    label: str
    points: tuple[tuple[datetime, float], ...]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A metric widget with its points, one for each `period` in seconds.

    `sums`: its lines are sums over a period. `thresholds` are the values at which its alarms fire.
    """

    title: str
    unit: str
    period: int
    sums: bool
    lines: tuple[Line, ...]
    thresholds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """`graphs` have points above zero, those whose titles are in `zero` have none."""

    title: str
    graphs: tuple[Graph, ...]
    zero: tuple[str, ...] = ()


def save(deployment: Deployment, start: datetime, end: datetime, file: Path) -> None:
    """Draw the stack's dashboard for that time into `file`, whose suffix names the format."""
    # matplotlib takes half a second to import, which no other command should wait for.
    from ops import chart  # noqa: PLC0415

    sections = read(deployment, start, end)
    try:
        chart.draw(sections, file, title=deployment.output("DashboardName"), start=start, end=end)
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error.strerror}", ExitCode.USAGE) from None


def read(deployment: Deployment, start: datetime, end: datetime) -> list[Section]:
    """The sections of the stack's dashboard, with the graphs that have data in that time."""
    cloudwatch = deployment.client("cloudwatch")
    answer = cloudwatch.get_dashboard(DashboardName=deployment.output("DashboardName"))
    seconds = (end - start).total_seconds()
    allowed = [one for one in _PERIODS if one >= deployment.shortest_period]
    period = next((one for one in allowed if seconds / one <= _POINTS), allowed[-1])
    sections: list[tuple[str, list[Graph]]] = [("", [])]
    for widget in json.loads(answer["DashboardBody"])["widgets"]:
        properties = widget["properties"]
        if widget["type"] == "text":
            sections.append((properties["markdown"].strip("# \n"), []))
        elif widget["type"] == "metric":
            queries = _queries(properties, period)
            points = _points(cloudwatch, queries, start, end)
            sections[-1][1].append(_graph(properties, queries, points, period))
    return [_section(title, graphs) for title, graphs in sections if any(one.lines for one in graphs)]


def _section(title: str, graphs: list[Graph]) -> Section:
    nonzero = [one for one in graphs if any(value for line in one.lines for _, value in line.points)]
    zero = [one.title for one in graphs if one.lines and one not in nonzero]
    return Section(title=title, graphs=tuple(nonzero), zero=tuple(zero))


def _queries(properties: dict[str, Any], period: int) -> list[dict[str, Any]]:
    """GetMetricData's queries for a widget: `[namespace, name, dimension, value, …, {options}]` for each."""
    queries = []
    for number, metric in enumerate(properties["metrics"]):
        options = metric[-1] if isinstance(metric[-1], dict) else {}
        words = [one for one in metric if isinstance(one, str)]
        query: dict[str, Any] = {"Id": options.get("id", f"m{number}")}
        query["ReturnData"] = options.get("visible", True)
        if "expression" in options:
            query |= {
                "Expression": options["expression"],
                "Label": options.get("label", options["expression"]),
                "Period": period,
            }
        else:
            namespace, name, *dimensions = words
            query["Label"] = options.get("label", name)
            query["MetricStat"] = {
                "Metric": {
                    "Namespace": namespace,
                    "MetricName": name,
                    "Dimensions": [
                        {"Name": key, "Value": value}
                        for key, value in zip(dimensions[::2], dimensions[1::2], strict=True)
                    ],
                },
                "Period": period,
                "Stat": options.get("stat", properties.get("stat", "Average")),
            }
        queries.append(query)
    return queries


def _points(
    cloudwatch: "CloudWatchClient", queries: list[Any], start: datetime, end: datetime
) -> dict[str, list[tuple[datetime, float]]]:
    """The points of each query, by its id."""
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=start, EndTime=end, ScanBy="TimestampAscending"
    )
    found: dict[str, list[tuple[datetime, float]]] = {}
    for page in pages:
        for one in page["MetricDataResults"]:
            found.setdefault(one["Id"], []).extend(zip(one["Timestamps"], one["Values"], strict=True))
    return found


def _graph(
    properties: dict[str, Any],
    queries: list[dict[str, Any]],
    points: dict[str, list[tuple[datetime, float]]],
    period: int,
) -> Graph:
    lines = (Line(label=one["Label"], points=tuple(sorted(points.get(one["Id"], [])))) for one in queries)
    sums = all(one.get("MetricStat", {}).get("Stat") == "Sum" for one in queries)
    thresholds = properties.get("annotations", {}).get("horizontal", [])
    if sums and period != properties.get("period", _DEFAULT_PERIOD):
        # A sum over another period than the alarm's has nothing to do with its threshold.
        thresholds = []
    return Graph(
        title=properties.get("title", ""),
        unit=properties.get("yAxis", {}).get("left", {}).get("label", ""),
        period=period,
        sums=sums,
        lines=tuple(line for line in lines if line.points),
        thresholds=tuple(one["value"] for one in thresholds),
    )
