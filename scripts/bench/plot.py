#!/usr/bin/env python3
"""Draws measurements as SVG that can be read on a light page and on a dark one.

From a program: `lines` and `bars`. From a shell, each column of a CSV file against its first one:
`plot.py FILE.csv FILE.svg TITLE [Y-LABEL]`.

The background is transparent, and every colour stands out from white and from near-black alike: tests/docs holds that.
The same figures give the same bytes.
"""

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402 (the backend is chosen first)
from matplotlib.axes import Axes  # noqa: E402

# Text, axes and grid.
NEUTRAL = "#7a7a7a"
# Apart from each other for eyes that see fewer colours, and by their markers.
COLOURS = ("#2f7fc1", "#d1651a", "#12906b", "#b65fa0", "#8f7a1d", "#c8484a", "#6f72c9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INCHES = (8, 4.5)

# A point: x, y, and if it was measured several times the least and the greatest y.
Point = tuple[float, ...]

_STYLE = {
    "svg.fonttype": "none",
    # Or each run would name its parts anew.
    "svg.hashsalt": "embedding-gateway",
    "font.size": 11,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.35,
    "legend.frameon": False,
    **{name: NEUTRAL for name in ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color", "grid.color")},
}


def lines(file: Path, title: str, x: str, y: str, series: Mapping[str, Sequence[Point]], log: str = "") -> None:
    """A line for each series over a common x; `log` names the axes with a logarithmic scale: "x", "y" or "xy"."""

    def draw(axes: Axes) -> None:
        for number, (name, points) in enumerate(series.items()):
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            # Markers that touch would hide the line.
            shown = {"marker": marker, "markersize": 5} if len(points) <= 40 else {}
            places = [point[0] for point in points]
            axes.plot(places, [point[1] for point in points], color=colour, label=name, **shown)
            if all(len(point) == 4 for point in points):
                axes.fill_between(places, [point[2] for point in points], [point[3] for point in points], color=colour, alpha=0.2, linewidth=0)
        axes.set_xlabel(x)
        _scale(axes, log)

    _save(file, title, y, draw)


def bars(file: Path, title: str, y: str, groups: Sequence[str], series: Mapping[str, Sequence[float | None]], log: str = "") -> None:
    """Bars side by side for each group, one of each series; None leaves its place empty."""

    def draw(axes: Axes) -> None:
        width = 0.8 / len(series)
        for number, (name, values) in enumerate(series.items()):
            places = [group + (number - (len(series) - 1) / 2) * width for group in range(len(groups))]
            there = [(place, value) for place, value in zip(places, values, strict=True) if value is not None]
            axes.bar([place for place, _ in there], [value for _, value in there], width * 0.9, color=COLOURS[number % len(COLOURS)], label=name)
        axes.set_xticks(range(len(groups)), groups)
        axes.grid(visible=False, axis="x")
        _scale(axes, log)

    _save(file, title, y, draw)


def _scale(axes: Axes, log: str) -> None:
    if "x" in log:
        axes.set_xscale("log")
    if "y" in log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)


def _save(file: Path, title: str, y: str, draw: Callable[[Axes], None]) -> None:
    with matplotlib.rc_context(_STYLE):
        figure, axes = pyplot.subplots(figsize=INCHES, layout="constrained")
        draw(axes)
        axes.set_title(title)
        axes.set_ylabel(y)
        if len(axes.get_legend_handles_labels()[1]) > 1:
            axes.legend(labelcolor=NEUTRAL)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, transparent=True, metadata={"Date": None})
        pyplot.close(figure)


def of_table(table: Path) -> tuple[str, dict[str, list[Point]]]:
    """The name of a CSV file's first column, and by the names of the others their points; empty cells are left out."""
    with open(table, newline="") as opened:
        first, *others = next(rows := csv.reader(opened))
        series: dict[str, list[Point]] = {name: [] for name in others}
        for x, *values in rows:
            for name, value in zip(others, values, strict=True):
                if value:
                    series[name].append((float(x), float(value)))
    return first, series


def main(table: str, picture: str, title: str, y: str = "") -> None:
    x, series = of_table(Path(table))
    lines(Path(picture), title, x, y, series)


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(*sys.argv[1:])
