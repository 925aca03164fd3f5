"""Grouped bars, a paper's figures hatched beside ours (Beyond, Figs. 4, 7, 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.plots.axes import nothing_measured, plain_numbers, value_label
from beyond_serve.bench.runs.style import MUTED, PAPER, new_figure, series_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class BarSeries:
    """One bar in every group.

    Attributes:
        values: one per group; None where nothing was measured.
        published: a paper's figures, drawn hatched. `of` then names the series whose colour they take.
        void: per group, drawn hollow. Empty for none.
    """

    label: str
    values: Sequence[float | None]
    published: bool = False
    of: str = ""
    void: Sequence[bool] = ()


def grouped_bars(
    name: str,
    title: str,
    groups: Sequence[str],
    series: Sequence[BarSeries],
    unit: str,
    *,
    log: bool = False,
    caption: str = "",
) -> Figure:
    """A group of bars per entry of `groups`, the value above each bar."""
    per_group = len(groups) * (len(series) + 0.8)
    drawing, (axes,) = new_figure(width=min(13.0, max(6.4, 1.6 + 0.42 * per_group)), height=4.6)
    values = [value for line in series for value in line.values if value is not None]
    if not values:
        nothing_measured(axes)
        return Figure(name, title, drawing, caption)
    if log:
        axes.set_yscale("log")
    own = [line.label for line in series if not line.published]
    width = 0.8 / len(series)
    for index, line in enumerate(series):
        base = line.of or line.label
        colour = series_colour(own.index(base)) if base in own else MUTED
        _draw(axes, line, (index - (len(series) - 1) / 2) * width, width, colour)
    _dress(axes, groups, series, unit, values)
    return Figure(name, title, drawing, caption)


def _draw(axes: Axes, line: BarSeries, offset: float, width: float, colour: str) -> None:
    void = list(line.void) or [False] * len(line.values)
    labelled = False
    for group, (value, hollow) in enumerate(zip(line.values, void, strict=True)):
        if value is None:
            continue
        outlined = line.published or hollow
        axes.bar(
            group + offset,
            value,
            width * 0.92,
            facecolor=PAPER if outlined else colour,
            edgecolor=colour,
            hatch="////" if line.published else None,
            linewidth=1.0 if outlined else 0.0,
            label=None if labelled else line.label,
        )
        labelled = True
        axes.annotate(
            value_label(value),
            (group + offset, value),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8 if width > 0.18 else 6.5,
            color=MUTED if line.published else None,
        )


def _dress(
    axes: Axes, groups: Sequence[str], series: Sequence[BarSeries], unit: str, values: Sequence[float]
) -> None:
    crowded = len(groups) > 6 or max(map(len, groups)) > 14
    axes.set_xticks(
        range(len(groups)),
        groups,
        rotation=28 if crowded else 0,
        ha="right" if crowded else "center",
        rotation_mode="anchor" if crowded else None,
    )
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel(unit)
    plain_numbers(axes.yaxis)
    if axes.get_yscale() == "linear":
        axes.set_ylim(min(0.0, *values) * 1.12, max(0.0, *values) * 1.12)
    if len(series) > 1:
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=min(len(series), 5), labelcolor=MUTED
        )
    if any(any(line.void) for line in series):
        axes.set_xlabel("hollow: void (the table says why)")
