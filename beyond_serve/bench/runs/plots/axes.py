"""Axes as all figures have them: tick numbers people write, log scales with ticks at the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from beyond_serve.bench.runs.style import MUTED, spread
from beyond_serve.bench.runs.tables import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_MOST_TICKS = 9


def tick(value: float, _position: object = None) -> str:
    """Short: 0.05, 2, 1,500, 20k, 3M."""
    for size, letter in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e6 if letter == 'M' else 1e3):.3g}{letter}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def plain_numbers(axis: Axis) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(tick))


def log_scale_at(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic x axis with its ticks at the measured values, thinned out if they are many."""
    from matplotlib.ticker import FixedLocator, NullLocator

    ticks = thinned(sorted({value for value in values if value > 0}))
    if not ticks:
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    plain_numbers(axes.xaxis)


def log_y(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic y axis, labelled the more closely the less it spans."""
    from matplotlib.ticker import LogLocator, NullLocator

    positive = [value for value in values if value > 0 and math.isfinite(value)]
    if not positive:
        return
    axes.set_yscale("log")
    decades = math.log10(max(positive) / min(positive)) if len(positive) > 1 else 0
    steps = (1.0,) if decades > 3 else (1.0, 2.0, 5.0) if decades > 0.8 else (1.0, 1.5, 2, 3, 4, 5, 6, 8)
    axes.yaxis.set_major_locator(LogLocator(subs=steps, numticks=20))
    axes.yaxis.set_minor_locator(NullLocator())
    plain_numbers(axes.yaxis)


def thinned(ticks: Sequence[float], most: int = _MOST_TICKS) -> list[float]:
    """Every second, third, ... of `ticks`, the last among them, until `most` are left."""
    step = max(1, math.ceil(len(ticks) / most))
    return list(ticks)[::-1][::step][::-1]


def end_labels(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each (x, y, label, colour) to the right of the axes at y's height, none over another.

    Call it when limits and scales are final.
    """
    to_pixels, height = axes.transAxes, float(axes.bbox.height)
    wanted = [float(to_pixels.inverted().transform(axes.transData.transform((x, y)))[1]) for x, y, *_ in ends]
    # 12.5 points of a line, at the figure's own resolution.
    gap = 12.5 / 72 * axes.get_figure(root=True).dpi / max(height, 1)  # type: ignore[union-attr]
    for (x, y, label, colour), place in zip(ends, spread(wanted, gap, 0.0, 1.0), strict=True):
        axes.annotate(
            label,
            xy=(x, y),
            xycoords="data",
            xytext=(1.03, place),
            textcoords=axes.transAxes,
            va="center",
            ha="left",
            color=colour,
            fontsize=9,
            fontweight="bold",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "lw": 0.7,
                "alpha": 0.5,
                "shrinkA": 0,
                "shrinkB": 4,
            },
        )


def value_label(value: float, unit: str = "") -> str:
    return f"{number(value)} {unit}".rstrip()


def nothing_measured(axes: Axes) -> None:
    """Instead of an empty frame."""
    axes.set_axis_off()
    axes.text(
        *(0.5, 0.5), "no point was measured", ha="center", va="center", color=MUTED, transform=axes.transAxes
    )
