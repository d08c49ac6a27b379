"""Plots of the results: lines on two logarithmic axes, as PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure


def draw(
    path: Path,
    *,
    title: str,
    x: tuple[str, Sequence[float]],
    y: tuple[str, Mapping[str, Sequence[float]]],
) -> None:
    """Draw one line for each series in `y` over the values of `x`; both start with an axis title."""
    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes = figure.add_subplot(title=title, xlabel=x[0], ylabel=y[0], xscale="log", yscale="log")
    for name, values in y[1].items():
        axes.plot(x[1], values, marker="o", markersize=4, label=name)
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the version and the date, equal data gives equal files.
    figure.savefig(path, metadata={"Software": None})
