"""The picture of the dashboard: what is asked of CloudWatch, and which graphs are drawn."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ops import chart, dashboard
from ops.dashboard import Graph, Line, Section
from ops.deployment import Deployment

END = datetime(2026, 1, 2, 12, tzinfo=UTC)


class CloudWatch:
    """Answers GetDashboard and GetMetricData; keeps what it was asked."""

    def __init__(self, widgets: list[dict[str, Any]], values: dict[str, list[float]]) -> None:
        self._widgets = widgets
        self._values = values
        self.queries: list[dict[str, Any]] = []

    def get_dashboard(self, **_: Any) -> dict[str, str]:
        return {"DashboardBody": json.dumps({"widgets": self._widgets})}

    def get_paginator(self, _: str) -> "CloudWatch":
        return self

    def paginate(self, **parameters: Any) -> list[dict[str, Any]]:
        """One page for each point, the latest first."""
        self.queries += parameters["MetricDataQueries"]
        results = []
        for query in parameters["MetricDataQueries"]:
            name = query["MetricStat"]["Metric"]["MetricName"] if "MetricStat" in query else "Expression"
            for minute, value in enumerate(self._values.get(name, [])):
                point = {"Timestamps": [END - timedelta(minutes=minute)], "Values": [value]}
                results.append({"MetricDataResults": [{"Id": query["Id"], **point}]})
        return results


def widget(title: str, *metrics: list[Any], **properties: Any) -> dict[str, Any]:
    return {"type": "metric", "properties": {"title": title, "metrics": list(metrics), **properties}}


def read(
    widgets: list[dict[str, Any]], values: dict[str, list[float]], *, hours: float = 1, shortest: int = 60
) -> tuple[list[Section], CloudWatch]:
    cloudwatch = CloudWatch(widgets, values)
    deployment = Deployment(
        name="stack",
        created=END,
        outputs={"DashboardName": "stack"},
        client=lambda _: cloudwatch,
        shortest_period=shortest,
    )
    return dashboard.read(deployment, END - timedelta(hours=hours), END), cloudwatch


TITLE = {"type": "text", "properties": {"markdown": "## Outcomes"}}
SUCCEEDED = ["Ours", "Succeeded", "service", "stack", {"label": "succeeded", "stat": "Sum"}]
LAG = ["Ours", "Lag", "service", "stack", {"stat": "p99"}]
ALARM = {"annotations": {"horizontal": [{"value": 5}]}}


def test_a_widgets_metrics_become_queries() -> None:
    total = [{"expression": "m1 + m2", "id": "total", "label": "all"}]
    _, cloudwatch = read([widget("Queries", SUCCEEDED, total)], {})

    metric = {
        "Namespace": "Ours",
        "MetricName": "Succeeded",
        "Dimensions": [{"Name": "service", "Value": "stack"}],
    }
    assert cloudwatch.queries == [
        {
            "Id": "m0",
            "ReturnData": True,
            "Label": "succeeded",
            "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"},
        },
        {"Id": "total", "ReturnData": True, "Expression": "m1 + m2", "Label": "all", "Period": 60},
    ]


@pytest.mark.parametrize(
    ("hours", "shortest", "period"),
    [(0.1, 60, 60), (0.1, 1, 5), (1, 1, 60), (6, 60, 300), (12, 60, 900), (24 * 15, 60, 21_600)],
)
def test_the_period_fits_the_time_and_the_metrics_resolution(
    hours: float, shortest: int, period: int
) -> None:
    _, cloudwatch = read([widget("Queries", SUCCEEDED)], {}, hours=hours, shortest=shortest)

    assert cloudwatch.queries[0]["MetricStat"]["Period"] == period


def test_points_of_all_pages_are_in_order_of_time() -> None:
    ((section,), _) = read([TITLE, widget("Queries", SUCCEEDED)], {"Succeeded": [3, 2, 1]})

    (line,) = section.graphs[0].lines
    assert [value for _, value in line.points] == [1, 2, 3]


def test_only_graphs_with_data_are_drawn_and_zeros_are_named() -> None:
    widgets = [TITLE, widget("Queries", SUCCEEDED), widget("Lag", LAG), widget("None", ["Ours", "Other"])]

    sections, _ = read(widgets, {"Succeeded": [1], "Lag": [0, 0]})

    (section,) = sections
    assert section.title == "Outcomes"
    assert [graph.title for graph in section.graphs] == ["Queries"]
    assert section.zero == ("Lag",)


def test_a_section_without_data_is_left_out() -> None:
    other = {"type": "text", "properties": {"markdown": "## Other"}}

    sections, _ = read([TITLE, widget("Lag", LAG), other, widget("Queries", SUCCEEDED)], {"Succeeded": [1]})

    assert [section.title for section in sections] == ["Other"]


@pytest.mark.parametrize(
    ("metric", "hours", "thresholds"), [(SUCCEEDED, 1, ()), (SUCCEEDED, 6, (5,)), (LAG, 1, (5,))]
)
def test_a_threshold_on_a_sum_is_drawn_for_its_own_period_only(
    metric: list[Any], hours: float, thresholds: tuple[float, ...]
) -> None:
    ((section,), _) = read([widget("Queries", metric, **ALARM)], {"Succeeded": [1], "Lag": [1]}, hours=hours)

    assert section.graphs[0].thresholds == thresholds


def sample(*, sums: bool) -> Graph:
    points = tuple((END - timedelta(minutes=one), 1000.0 * one) for one in range(60))
    return Graph(
        title="Callback lag",
        unit="Count" if sums else "Milliseconds",
        period=60,
        sums=sums,
        lines=(Line(label="p50", points=points), Line(label="p99", points=points[::2])),
        thresholds=(30_000.0, 1e9),
    )


@pytest.mark.parametrize("sums", [True, False])
def test_titles_labels_and_alarms_are_in_the_picture(tmp_path: Path, *, sums: bool) -> None:
    file = tmp_path / "dashboard.svg"
    sections = [Section(title="Callbacks", graphs=(sample(sums=sums),) * 4, zero=("Dead-letter queue",))]

    chart.draw(sections, file, title="AthenaQueries", start=END - timedelta(hours=1), end=END)

    text = file.read_text()
    for expected in (
        *("AthenaQueries", "Callbacks", "Callback lag", "p50", "p99", "alarm at"),
        *("2026-01-02 11:00 to 12:00 UTC", "zero throughout: Dead-letter queue"),
    ):
        assert expected in text
    assert (" s<" in text) is not sums, "milliseconds are shown in a unit that fits"


def test_a_png_is_twice_as_wide_as_a_readme(tmp_path: Path) -> None:
    file = tmp_path / "dashboard.png"

    chart.draw(
        [Section(title="", graphs=(sample(sums=True),))],
        file,
        title="AthenaQueries",
        start=END - timedelta(hours=1),
        end=END,
    )

    # Width in the header of a PNG: bytes 16 to 19.
    assert int.from_bytes(file.read_bytes()[16:20], "big") == 1800
