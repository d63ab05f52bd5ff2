"""Curves and bars, as SVG that looks the same everywhere."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from passion_components.reports.figures import COLOURS

DASHES = ("-", "--", "-.", ":", (0, (3, 1, 1, 1, 1, 1)), (0, (5, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
HATCHES = ("", "////", "....")
"""On bars, once the colours are used up."""
LEGEND_WIDTH = 60
"""Characters that fit below the axes in a row."""


def style() -> AbstractContextManager[None]:
    """How figures look within this context."""
    return matplotlib.rc_context(
        {
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "text.parse_math": False,  # names come from users: a dollar sign is a dollar sign
            "svg.hashsalt": "passion",  # the same figure gives the same bytes
        }
    )


def lines_svg(
    series: Mapping[str, Mapping[int, float]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    limits: tuple[float, float] | None = None,
    log: bool = False,
    zero_line: bool = False,
    markers: bool = False,
) -> str:
    """A line for every series, told apart by colour and by dashes.

    Args:
        series: name -> x -> y.
        title: above the axes.
        xlabel: of whole numbers.
        ylabel: with its unit.
        limits: of y; None: those of the values.
        log: logarithmic y, where every value is positive.
        zero_line: whether y = 0 is marked.
        markers: whether every point is.
    """
    with style():
        figure, axes = _figure(title, 3.1)
        for place, (name, points) in enumerate(series.items()):
            turn = place % len(COLOURS)
            axes.plot(
                list(points),
                list(points.values()),
                label=name,
                color=COLOURS[turn],
                linestyle=DASHES[(place + place // len(COLOURS)) % len(DASHES)],
                marker=MARKERS[turn] if markers else None,
                markersize=4,
            )
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if limits is not None:
            axes.set_ylim(*limits)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if log and all(value > 0 for points in series.values() for value in points.values()):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        if zero_line:
            axes.axhline(0, color="black", linewidth=0.8)
        figure.legend(loc="outside lower center", ncols=min(3, len(series)), frameon=False)
        return _svg(figure)


def bars_svg(
    groups: Mapping[str, Mapping[str, tuple[float, float]]], *, title: str, xlabel: str, limit: float | None = None
) -> str:
    """Horizontal bars in groups, the first group on top, each with its number.

    Args:
        groups: group -> bar -> length and standard deviation, NaN where there is none.
        title: above the axes.
        xlabel: with its unit.
        limit: right end of x, which begins at 0; None: that of the bars.
    """
    names = list(dict.fromkeys(name for bars in groups.values() for name in bars))
    columns = max(1, min(len(names), LEGEND_WIDTH // max(map(len, names))))
    with style():
        legend = 0.18 * math.ceil(len(names) / columns)
        figure, axes = _figure(title, 0.92 + legend + 0.22 * len(groups) * (len(names) + 1))
        height = 0.8 / len(names)
        for place, name in enumerate(names):
            lengths, spreads = zip(*(bars[name] for bars in groups.values()), strict=True)
            at = [row + height * (place - (len(names) - 1) / 2) for row in range(len(groups))]
            errors = None if all(spread != spread for spread in spreads) else spreads
            colour, hatch = COLOURS[place % len(COLOURS)], HATCHES[place // len(COLOURS) % len(HATCHES)]
            bars = axes.barh(
                at, lengths, height, xerr=errors, color=colour, hatch=hatch, edgecolor="white", linewidth=0, label=name
            )
            axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
        axes.set(xlabel=xlabel, xlim=(0, limit), yticks=range(len(groups)), yticklabels=list(groups))
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        if len(names) > 1:
            figure.legend(loc="outside lower center", ncols=columns, frameon=False)
        return _svg(figure)


def common_limits(series: Sequence[Mapping[str, Mapping[int, float]]]) -> tuple[float, float] | None:
    """Limits of y that hold all values of several charts, with a margin; None where there are none."""
    values = [value for one in series for points in one.values() for value in points.values() if value == value]
    if not values:
        return None
    margin = 0.05 * (max(values) - min(values)) or 0.05
    return min(values) - margin, max(values) + margin


def _figure(title: str, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.4, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=9, loc="left")
    return figure, axes


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()
