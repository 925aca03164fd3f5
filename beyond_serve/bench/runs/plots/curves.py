"""Lines over a load or another quantity, one panel beside the other (Beyond, Fig. 5)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.plots.axes import (
    end_labels,
    log_scale_at,
    log_y,
    nothing_measured,
    plain_numbers,
)
from beyond_serve.bench.runs.style import MUTED, PAPER, new_figure, series_colour, series_marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Series:
    """One line.

    Attributes:
        void: per point, whether the measurement is void: drawn hollow. Empty for none.
        low, high: per point, the borders of a band (a confidence interval). Empty for none.
        published: a paper's line, drawn dashed and grey.
        key: series of the same key have the same colour in every panel; the label if empty.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    void: Sequence[bool] = ()
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    published: bool = False
    key: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes. `y_label` names the unit; a heading above it, if any, says what is seen."""

    y_label: str
    series: Sequence[Series]
    heading: str = ""
    log: bool = False


def curves(
    name: str,
    title: str,
    x_label: str,
    panels: Sequence[Panel],
    *,
    log_x: bool = True,
    caption: str = "",
) -> Figure:
    """Panels side by side over one x axis; each line is labelled at its end."""
    drawing, all_axes = new_figure(width=1.2 + 4.4 * max(len(panels), 1), height=4.3, panels=len(panels))
    keys = list(dict.fromkeys(_key(line) for panel in panels for line in panel.series if not line.published))
    labels: list[tuple[Axes, list[tuple[float, float, str, str]]]] = []
    for axes, panel in zip(all_axes, panels, strict=True):
        ends = [end for line in panel.series if (end := _draw(axes, line, keys)) is not None]
        if not ends:
            nothing_measured(axes)
            continue
        _dress(axes, panel, x_label, log_x)
        labels.append((axes, ends))
    drawing.draw_without_rendering()
    for axes, ends in labels:
        end_labels(axes, ends)
    return Figure(name, title, drawing, caption)


def _key(line: Series) -> str:
    return line.key or line.label


def _draw(axes: Axes, line: Series, keys: Sequence[str]) -> tuple[float, float, str, str] | None:
    """Draw `line`; where its label belongs, or None if it has no point."""
    void = list(line.void) or [False] * len(line.x)
    points = sorted(
        (x, y, v)
        for x, y, v in zip(line.x, line.y, void, strict=True)
        if y is not None and math.isfinite(y) and math.isfinite(x)
    )
    if not points:
        return None
    index = 0 if line.published else keys.index(_key(line))
    colour = MUTED if line.published else series_colour(index)
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    if line.low and line.high:
        axes.fill_between(
            list(line.x), list(line.low), list(line.high), color=colour, alpha=0.15, linewidth=0
        )
    axes.plot(xs, ys, color=colour, linestyle="--" if line.published else "-", zorder=3)
    marker = "none" if line.published else series_marker(index)
    for hollow in (False, True):
        chosen = [(x, y) for x, y, v in points if v is hollow]
        axes.plot(
            [x for x, _ in chosen],
            [y for _, y in chosen],
            linestyle="none",
            marker=marker,
            color=colour,
            markerfacecolor=PAPER if hollow else colour,
            markeredgewidth=1.4,
            zorder=4,
        )
    return xs[-1], ys[-1], line.label, colour


def _dress(axes: Axes, panel: Panel, x_label: str, log_x: bool) -> None:
    finite = [y for line in panel.series for y in line.y if y is not None and math.isfinite(y)]
    if log_x:
        log_scale_at(axes, [x for line in panel.series for x in line.x])
    else:
        plain_numbers(axes.xaxis)
    if panel.log:
        log_y(axes, finite)
    else:
        plain_numbers(axes.yaxis)
        axes.set_ylim(bottom=min(0.0, *finite), top=max(finite) * 1.08 or 1.0)
    void = any(any(line.void) for line in panel.series)
    axes.set_xlabel(x_label + ("\nhollow: void (the table says why)" if void else ""))
    axes.set_ylabel(panel.y_label)
    if panel.heading:
        axes.set_title(panel.heading)
