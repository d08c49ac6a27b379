"""Draws the sections of a dashboard into one picture."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from matplotlib import dates, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ops.dashboard import Graph, Section

# Inches at 200 dots: 1,800 pixels across, twice what a README shows.
_WIDTH, _DOTS_PER_INCH = 9.0, 200
_TITLE_HEIGHT, _HEADING_HEIGHT, _GRAPH_HEIGHT, _NOTE_HEIGHT = 0.46, 0.3, 1.62, 0.24
_MARGIN, _COLUMNS = 0.15, 3
# Three labels of this many characters fit below a graph.
_SHORT_LABEL = 17
# matplotlib counts time in days.
_DAY = 86_400
# Between two labels of the time axis; seconds likewise.
_MINUTES = [1, 2, 5, 10, 15, 30]
# Of a graph's cell, in inches: room for the labels of its axes, its title and its legend.
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.5, 0.12, 0.26, 0.42

# Distinct for readers with colour blindness too (Okabe and Ito).
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#666666")
_TEXT, _HEADING, _FAINT, _THRESHOLD = "#1f2937", "#0f4c75", "#6b7280", "#c1121f"
_STYLE: dict[Any, Any] = {  # matplotlib's type lists all of its settings
    "font.family": "DejaVu Sans",
    "font.size": 6.5,
    "text.color": _TEXT,
    "axes.edgecolor": "#d1d5db",
    "axes.labelcolor": _FAINT,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "svg.fonttype": "none",
}


def draw(sections: Sequence[Section], file: Path, *, title: str, start: datetime, end: datetime) -> None:
    """Write the picture; the file's suffix names its format. Every graph has the same size and time axis."""
    height = _TITLE_HEIGHT + sum(_height(section) for section in sections)
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height), dpi=_DOTS_PER_INCH, facecolor="white")
        top = height - 0.24
        _write(figure, _MARGIN, top, title, size=11, weight="bold")
        _write(figure, _WIDTH - _MARGIN, top, _span(start, end), size=7, color=_FAINT, ha="right")
        top = height - _TITLE_HEIGHT
        for section in sections:
            _write(figure, _MARGIN, top - 0.14, section.title, size=9, weight="bold", color=_HEADING)
            for number, graph in enumerate(section.graphs):
                row, column = divmod(number, _COLUMNS)
                _draw_graph(figure, graph, column, top - _HEADING_HEIGHT - row * _GRAPH_HEIGHT, start, end)
            top -= _height(section)
            if section.zero:
                note = f"zero throughout: {', '.join(section.zero)}"
                _write(figure, _MARGIN, top + _NOTE_HEIGHT / 2, note, color=_FAINT)
        figure.savefig(file)


def _height(section: Section) -> float:
    rows = -(-len(section.graphs) // _COLUMNS)
    return _HEADING_HEIGHT + rows * _GRAPH_HEIGHT + (_NOTE_HEIGHT if section.zero else 0)


def _write(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    """Text at a place in inches from the lower left corner."""
    figure.text(x / figure.get_figwidth(), y / figure.get_figheight(), text, va="center", **style)


def _span(start: datetime, end: datetime) -> str:
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    last = f"{end:%H:%M}" if start.date() == end.date() else f"{end:%Y-%m-%d %H:%M}"
    return f"{start:%Y-%m-%d %H:%M} to {last} UTC"


def _draw_graph(
    figure: Figure, graph: Graph, column: int, top: float, start: datetime, end: datetime
) -> None:
    width, height = figure.get_figwidth(), figure.get_figheight()
    cell = width / _COLUMNS
    left, bottom = column * cell + _LEFT, top - _GRAPH_HEIGHT + _BOTTOM
    title = f"{graph.title} (USD)" if graph.unit == "USD" else graph.title
    _write(figure, column * cell + _MARGIN, top - 0.12, title, size=7.5, weight="bold")
    axes = figure.add_axes(
        (
            left / width,
            bottom / height,
            (cell - _LEFT - _RIGHT) / width,
            (_GRAPH_HEIGHT - _TOP - _BOTTOM) / height,
        )
    )
    highest = _draw_bars(axes, graph) if graph.sums else _draw_lines(axes, graph)
    _draw_thresholds(axes, graph, highest)
    # matplotlib.dates has no annotations.
    axes.set_xlim(tuple(dates.date2num([start, end])))  # type: ignore[no-untyped-call]
    locator = dates.AutoDateLocator(UTC, 3, 6)  # type: ignore[no-untyped-call]
    locator.intervald |= dict.fromkeys((dates.MINUTELY, dates.SECONDLY), _MINUTES)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.DateFormatter(_time_format(start, end), UTC))  # type: ignore[no-untyped-call]
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10], integer=graph.unit == "Count"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _amount(value, graph.unit)))
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.06, -0.14),
        ncols=3 if max(len(line.label) for line in graph.lines) <= _SHORT_LABEL else 2,
        frameon=False,
        fontsize=6,
        handlelength=0.9,
        handletextpad=0.4,
        columnspacing=0.8,
        borderaxespad=0.2,
        labelspacing=0.25,
    )


def _draw_bars(axes: Axes, graph: Graph) -> float:
    """Stack the sums of each period. Return the highest stack."""
    height: Counter[datetime] = Counter()
    for line, colour in zip(graph.lines, _COLOURS * 2, strict=False):
        times, values = zip(*line.points, strict=True)
        axes.bar(
            times,
            values,
            bottom=[height[one] for one in times],
            width=graph.period / _DAY,
            align="edge",
            color=colour,
            edgecolor="white",
            linewidth=0.3,
            label=line.label,
        )
        height.update(dict(line.points))
    return max(height.values())


def _draw_lines(axes: Axes, graph: Graph) -> float:
    """Return the highest value."""
    for line, colour in zip(graph.lines, _COLOURS * 2, strict=False):
        times, values = zip(*line.points, strict=True)
        axes.plot(times, values, color=colour, linewidth=1, marker="o", markersize=1.6, label=line.label)
    return max(value for line in graph.lines for _, value in line.points)


def _draw_thresholds(axes: Axes, graph: Graph, highest: float) -> None:
    """Thresholds near the points as lines; the scale follows the points, not a threshold far above them."""
    ceiling = highest or 1.0
    near = [one for one in graph.thresholds if one <= 2 * highest]
    label = "alarm"
    for threshold in near:
        axes.axhline(threshold, color=_THRESHOLD, linewidth=0.8, linestyle=(0, (4, 2)), label=label)
        label = "_"
        ceiling = max(ceiling, threshold)
    if far := [one for one in graph.thresholds if one not in near]:
        axes.plot([], [], color=_THRESHOLD, linewidth=0.8, linestyle=(0, (4, 2)))
        axes.text(
            1,
            1.01,
            f"alarm at {_amount(min(far), graph.unit)}",
            transform=axes.transAxes,
            ha="right",
            va="bottom",
            fontsize=6,
            color=_THRESHOLD,
        )
    axes.set_ylim(0, ceiling * 1.1)


def _time_format(start: datetime, end: datetime) -> str:
    hours = (end - start).total_seconds() / 3600
    return "%H:%M:%S" if hours < 0.1 else "%H:%M" if hours <= 48 else "%b %d"  # noqa: PLR2004


_PLAIN = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_SCALES = {
    "Milliseconds": ((60_000, " min"), (1_000, " s"), (0, " ms")),
    "Seconds": ((3_600, " h"), (60, " min"), (0, " s")),
    "Bytes": ((1e12, " TB"), (1e9, " GB"), (1e6, " MB"), (1e3, " kB"), (0, " B")),
}


def _amount(value: float, unit: str) -> str:
    """A value of a CloudWatch unit in a few characters."""
    if value == 0:
        return "0"
    size, suffix = next((one for one in _SCALES.get(unit, _PLAIN) if abs(value) >= one[0]), (1, ""))
    return f"{value / (size or 1):.3g}{suffix}"
