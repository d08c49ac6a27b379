"""Draws the deployed dashboard into one page: GetDashboard says what to draw, GetMetricData the points.

Plain boto3, as any client would; the page needs nothing from elsewhere.
"""

import html
import json
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ops.execution import states_entered

# Periods that CloudWatch takes, in seconds (GetMetricData API reference); points for a graph.
_PERIODS = (1, 5, 10, 30, 60, 300, 900, 3600)
_POINTS = 60
_EXECUTIONS = 100
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 400, 170, 52, 22, 10
_COLOURS = ("#2563eb", "#d97706", "#059669", "#7c3aed", "#db2777", "#475569")
_THRESHOLD = "#dc2626"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class NoBrowser(Exception):
    """A picture was asked for and there is no Chromium to take it."""


@dataclass(frozen=True, kw_only=True)
class Line:
    label: str
    points: tuple[tuple[datetime, float], ...]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A metric widget with its points. `thresholds` are the alarms' lines: value and label."""

    title: str
    unit: str
    width: int
    lines: tuple[Line, ...]
    thresholds: tuple[tuple[float, str], ...]


@dataclass(kw_only=True)
class Traffic:
    """How often states were entered, and how many running executions are in each."""

    entered: Counter[str] = field(default_factory=Counter)
    now_in: Counter[str] = field(default_factory=Counter)


def page(client: Any, name: str, state_machine_arn: str, *, hours: float) -> str:
    """The dashboard `name` over the last hours as HTML. `client` makes a boto3 client of a service."""
    cloudwatch, stepfunctions = client("cloudwatch"), client("stepfunctions")
    body = json.loads(cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"])
    end = datetime.now(UTC)
    start = _first_point(cloudwatch, body, end - timedelta(hours=hours), end)
    parts = [f"<h1>{html.escape(name)}</h1>", f"<p>{start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC</p>"]
    definition = json.loads(
        stepfunctions.describe_state_machine(stateMachineArn=state_machine_arn)["definition"]
    )
    traffic = _traffic(stepfunctions, state_machine_arn)
    parts += ["<h2>Where are executions?</h2>", _machine(definition, traffic)]
    for widget in body["widgets"]:
        if widget["type"] == "text":
            parts.append(f"<h2>{html.escape(widget['properties']['markdown'].strip('# '))}</h2>")
        elif widget["type"] == "metric":
            graph = _graph(cloudwatch, widget, start, end)
            parts.append(_figure(graph, start, end))
    return _PAGE.replace("@TITLE@", html.escape(name)).replace("@BODY@", "\n".join(parts))


def picture(document: str, file: Path) -> None:
    """Write the page as a PNG. Raise NoBrowser where there is no Chromium."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise NoBrowser("no Chromium on this machine to take the picture; open the HTML page instead")
    with TemporaryDirectory() as scratch:
        source = Path(scratch) / "dashboard.html"
        source.write_text(document)
        subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
                *("--hide-scrollbars", "--window-size=1360,2140", f"--user-data-dir={scratch}/profile"),
                *(f"--screenshot={file.absolute()}", source.as_uri()),
            ],
            check=True,
            capture_output=True,
        )


def _queries(widget: dict[str, Any], period: int) -> list[dict[str, Any]]:
    """GetMetricData's queries for a widget's metrics: `[namespace, name, dimension, value, …, {options}]`."""
    queries = []
    for number, metric in enumerate(widget["properties"]["metrics"]):
        options = metric[-1] if isinstance(metric[-1], dict) else {}
        namespace, name, *words = [one for one in metric if isinstance(one, str)]
        dimensions = [
            {"Name": key, "Value": value} for key, value in zip(words[::2], words[1::2], strict=True)
        ]
        stat = options.get("stat", widget["properties"].get("stat", "Average"))
        queries.append(
            {
                "Id": f"m{number}",
                "Label": options.get("label", name),
                "MetricStat": {
                    "Metric": {"Namespace": namespace, "MetricName": name, "Dimensions": dimensions},
                    "Period": period,
                    "Stat": stat,
                },
            }
        )
    return queries


def _points(
    cloudwatch: Any, queries: list[dict[str, Any]], start: datetime, end: datetime
) -> dict[str, tuple[tuple[datetime, float], ...]]:
    answer = cloudwatch.get_metric_data(
        MetricDataQueries=queries, StartTime=start, EndTime=end, ScanBy="TimestampAscending"
    )
    return {
        one["Id"]: tuple(sorted(zip(one["Timestamps"], one["Values"], strict=True)))
        for one in answer["MetricDataResults"]
    }


def _first_point(cloudwatch: Any, body: dict[str, Any], start: datetime, end: datetime) -> datetime:
    """A little before the first point of any of our metrics: an empty hour in front shows nothing."""
    firsts = [end - timedelta(seconds=20)]
    for widget in body["widgets"]:
        if widget["type"] == "metric" and widget["properties"]["metrics"][0][0] == "AthenaQueries":
            for points in _points(cloudwatch, _queries(widget, 1), start, end).values():
                firsts += [when for when, value in points[:1] if value is not None]
    return max(start, min(firsts) - timedelta(seconds=5))


def _graph(cloudwatch: Any, widget: dict[str, Any], start: datetime, end: datetime) -> Graph:
    seconds = (end - start).total_seconds()
    period = next((one for one in _PERIODS if seconds / one <= _POINTS), _PERIODS[-1])
    queries = _queries(widget, period)
    points = _points(cloudwatch, queries, start, end)
    properties = widget["properties"]
    return Graph(
        title=properties["title"],
        unit=properties.get("yAxis", {}).get("left", {}).get("label", ""),
        width=widget["width"],
        lines=tuple(Line(label=one["Label"], points=points.get(one["Id"], ())) for one in queries),
        thresholds=tuple(
            (line["value"], line.get("label", ""))
            for line in properties.get("annotations", {}).get("horizontal", [])
        ),
    )


def _figure(graph: Graph, start: datetime, end: datetime) -> str:
    values = [value for line in graph.lines for _, value in line.points]
    top = max([*values, *(value for value, _ in graph.thresholds), 0.0]) or 1.0
    seconds = (end - start).total_seconds()

    def place(when: datetime, value: float) -> tuple[float, float]:
        share = (when - start).total_seconds() / seconds
        return _LEFT + share * (_WIDTH - _LEFT - 8), _HEIGHT - _BOTTOM - value / top * (
            _HEIGHT - _BOTTOM - _TOP
        )

    drawn = []
    for value in (0.0, top / 2, top):
        _, y = place(start, value)
        drawn.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        drawn.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" class="y">{_short(value)}</text>')
    for when in (start, end):
        x, _ = place(when, 0)
        anchor = "start" if when == start else "end"
        drawn.append(f'<text x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{when:%H:%M:%S}</text>')
    for value, label in graph.thresholds:
        _, y = place(start, value)
        drawn.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}" class="threshold">'
            f"<title>{html.escape(label)}</title></line>"
        )
    legend = []
    for line, colour in zip(graph.lines, _COLOURS * 2, strict=False):
        spots = [place(when, value) for when, value in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{colour}"/>' for x, y in spots]
        legend.append(f'<span><i style="background:{colour}"></i>{html.escape(line.label)}</span>')
    if graph.thresholds:
        legend.append(f'<span><i style="background:{_THRESHOLD}"></i>alarm</span>')
    if not values:
        drawn.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT / 2}" text-anchor="middle">no data</text>')
    title = html.escape(graph.title)
    return (
        f'<figure style="flex-grow:{graph.width}">'
        f"<figcaption>{title} <small>{html.escape(graph.unit)}</small></figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">{"".join(drawn)}</svg>'
        f"<div>{''.join(legend)}</div></figure>"
    )


def _short(value: float) -> str:
    for size, mark in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{mark}"
    return f"{value:.2g}"


def _traffic(stepfunctions: Any, state_machine_arn: str) -> Traffic:
    """From the histories of the latest executions."""
    traffic = Traffic()
    listed = stepfunctions.list_executions(stateMachineArn=state_machine_arn, maxResults=_EXECUTIONS)
    for execution in listed["executions"]:
        states = list(states_entered(stepfunctions, execution["executionArn"]))
        traffic.entered.update(states)
        if execution["status"] == "RUNNING" and states:
            traffic.now_in[states[-1]] += 1
    return traffic


def _machine(definition: dict[str, Any], traffic: Traffic) -> str:
    """The state machine's graph, one column for each step from the start."""
    edges = [
        (name, target)
        for name, state in definition["States"].items()
        for target in dict.fromkeys(
            [
                *(rule["Next"] for rule in state.get("Choices", [])),
                *([state["Default"]] if "Default" in state else []),
                *([state["Next"]] if "Next" in state else []),
                *(catch["Next"] for catch in state.get("Catch", [])),
            ]
        )
    ]
    column = {definition["StartAt"]: 0}
    for _ in definition["States"]:
        for source, target in edges:
            if source in column:
                column.setdefault(target, column[source] + 1)
    rows: Counter[int] = Counter()
    spots: dict[str, tuple[int, int]] = {}
    for name, depth in sorted(column.items(), key=lambda one: one[1]):
        spots[name] = (20 + depth * 260, 20 + rows[depth] * 86)
        rows[depth] += 1
    drawn = []
    for source, target in edges:
        (x1, y1), (x2, y2) = spots[source], spots[target]
        forward = x2 > x1
        x1, x2 = (x1 + 180, x2) if forward else (x1 + 90, x2 + 90)
        y1, y2 = (y1 + 28, y2 + 28) if forward else (y1 + (56 if y2 > y1 else 0), y2 + (0 if y2 > y1 else 56))
        bend = 50 if forward else -70
        drawn.append(
            f'<path d="M{x1},{y1} C{x1 + bend},{y1 + (0 if forward else 60)} '
            f'{x2 - bend},{y2 + (0 if forward else 60)} {x2},{y2}" class="edge" marker-end="url(#arrow)"/>'
        )
    for name, (x, y) in spots.items():
        busy = ' class="state busy"' if traffic.now_in[name] else ' class="state"'
        drawn.append(
            f'<g{busy}><rect x="{x}" y="{y}" width="180" height="56" rx="8"/>'
            f'<text x="{x + 90}" y="{y + 24}" text-anchor="middle" class="name">{html.escape(name)}</text>'
            f'<text x="{x + 90}" y="{y + 43}" text-anchor="middle">entered {traffic.entered[name]}, '
            f"now {traffic.now_in[name]}</text></g>"
        )
    width, height = 20 + (max(column.values()) + 1) * 260, 60 + max(rows.values()) * 86
    marker = (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#94a3b8"/></marker></defs>'
    )
    return (
        f'<svg class="machine" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="The state machine and its executions">{marker}{"".join(drawn)}</svg>'
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>@TITLE@</title><style>
body { font: 14px/1.4 system-ui, sans-serif; color: #0f172a; background: #f8fafc; margin: 24px auto;
  max-width: 1300px; padding: 0 16px; display: flex; flex-wrap: wrap; gap: 12px; }
h1, h2, p, .machine { flex-basis: 100%; margin: 0; }
h1 { font-size: 22px; } h2 { font-size: 16px; margin-top: 10px; } p { color: #475569; }
.machine { max-height: 300px; }
figure { margin: 0; padding: 10px 12px; background: #fff; border: 1px solid #e2e8f0; border-radius: 8px;
  flex-basis: 280px; max-width: 640px; }
figcaption { font-weight: 600; } small { color: #64748b; font-weight: 400; }
figure svg { width: 100%; }
figure div { display: flex; flex-wrap: wrap; gap: 4px 12px; font-size: 12px; color: #334155; }
i { display: inline-block; width: 9px; height: 9px; border-radius: 2px; margin-right: 5px; }
text { font-size: 11px; fill: #475569; } .y { text-anchor: end; }
.grid { stroke: #e2e8f0; } .threshold { stroke: #dc2626; stroke-dasharray: 5 3; }
.edge { fill: none; stroke: #94a3b8; stroke-width: 1.4; } .state rect { fill: #fff; stroke: #94a3b8; }
.busy rect { fill: #fef3c7; stroke: #d97706; } .name { font-weight: 600; font-size: 13px; fill: #0f172a; }
</style></head><body>
@BODY@
</body></html>
"""
