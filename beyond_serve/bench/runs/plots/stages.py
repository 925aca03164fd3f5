"""Stacked bars of where the time went, the trace's stages in fixed colours (Beyond, Fig. 6)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.plots.axes import nothing_measured, plain_numbers, value_label
from beyond_serve.bench.runs.style import (
    INK,
    MUTED,
    PAPER,
    new_figure,
    stage_colour,
    stage_order,
    text_on,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SMALLEST = 0.005
_POINTS_PER_CHARACTER = 5.0
_POINTS_OF_WIDTH = 390
_LEGEND_COLUMNS = 7


@dataclass(frozen=True, slots=True)
class StageBar:
    """One bar.

    Attributes:
        stages: milliseconds per stage, as in a load summary's `stages_ms["mean"]`; NaN and None count as 0.
        void: the measurement is void: drawn hollow.
    """

    label: str
    stages: Mapping[str, float | None]
    void: bool = False

    def amounts(self) -> dict[str, float]:
        return {
            name: value
            for name, value in self.stages.items()
            if value is not None and math.isfinite(value) and value > 0
        }


def stage_bars(
    name: str, title: str, bars: Sequence[StageBar], *, shares: bool = True, caption: str = ""
) -> Figure:
    """One horizontal bar each. With `shares` all are of one length, with the total at the end: bars whose
    totals lie decades apart can be compared. Without, their lengths are milliseconds.

    Stages that are under 0.5 % of every bar are drawn together as "other".
    """
    drawing, (axes,) = new_figure(height=1.75 + 0.52 * max(len(bars), 1))
    merged = merge_small([bar.amounts() for bar in bars])
    if not any(merged):
        nothing_measured(axes)
        return Figure(name, title, drawing, caption)
    totals = [sum(amounts.values()) for amounts in merged]
    longest = 1.0 if shares else max(totals)
    for row, (bar, amounts, total) in enumerate(zip(bars, merged, totals, strict=True)):
        _draw_bar(axes, row, bar, amounts, total if shares else 1.0, total / longest if not shares else 1.0)
        end = (1.0 if total else 0.0) if shares else total
        text = value_label(total, "ms") + (" (void)" if bar.void else "")
        axes.text(end + 0.012 * longest, row, text, va="center", ha="left", fontweight="bold", fontsize=9)
    _dress(axes, [bar.label for bar in bars], merged, shares, longest)
    return Figure(name, title, drawing, caption)


def merge_small(bars: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """The bars with every stage that is nowhere 0.5 % added up as "other", stages in the trace's order."""
    names = stage_order(name for amounts in bars for name in amounts)
    totals = [sum(amounts.values()) for amounts in bars]
    kept = [
        name
        for name in names
        if name != "other"
        and any(
            amounts.get(name, 0) >= _SMALLEST * total for amounts, total in zip(bars, totals, strict=True)
        )
    ]
    merged = []
    for amounts in bars:
        row = {name: amounts[name] for name in kept if name in amounts}
        rest = sum(value for name, value in amounts.items() if name not in kept)
        merged.append({**row, "other": rest} if rest > 0 else row)
    return merged


def _draw_bar(
    axes: Axes, row: int, bar: StageBar, amounts: Mapping[str, float], scale: float, length: float
) -> None:
    total = sum(amounts.values())
    left = 0.0
    for name, value in amounts.items():
        colour = stage_colour(name)
        width = value / scale
        points = value / total * length * _POINTS_OF_WIDTH
        axes.barh(
            row,
            width,
            left=left,
            height=0.66,
            color="none" if bar.void else colour,
            edgecolor=colour if bar.void else PAPER,
            # A border on a sliver would be all one sees of it.
            linewidth=1.4 if bar.void else 0.8 if points > 4 else 0.0,
        )
        text = segment_text(name, value / total, points)
        if text:
            ink = INK if bar.void else text_on(colour)
            axes.text(left + width / 2, row, text, ha="center", va="center", color=ink, fontsize=8)
        left += width


def segment_text(name: str, share: float, points: float) -> str:
    """As much of "decode 45 %" as fits in a segment `points` (1/72 inch) wide."""
    percent = f"{share * 100:.0f} %"
    for text in (f"{name} {percent}", percent):
        if len(text) * _POINTS_PER_CHARACTER + 4 <= points:
            return text
    return ""


def _dress(
    axes: Axes, labels: Sequence[str], merged: Sequence[Mapping[str, float]], shares: bool, longest: float
) -> None:
    from matplotlib.patches import Patch

    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, longest * 1.16)
    if shares:
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25", "50", "75", "100 %"])
        axes.set_xlabel("share of a request's time; its length in ms at the bar's end")
        axes.spines["bottom"].set_bounds(0, 1)
    else:
        plain_numbers(axes.xaxis)
        axes.set_xlabel("time of a request, ms")
    names = stage_order(name for amounts in merged for name in amounts)
    columns = min(len(names), _LEGEND_COLUMNS)
    handles = [Patch(facecolor=stage_colour(name), label=name) for name in by_rows(names, columns)]
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=columns,
        handlelength=1.0,
        handleheight=1.0,
        columnspacing=1.1,
        handletextpad=0.4,
        borderaxespad=0.2,
        labelcolor=MUTED,
    )


def by_rows(names: Sequence[str], columns: int) -> list[str]:
    """`names` reordered so that a legend, which is filled by columns, reads along its rows."""
    return [name for column in range(columns) for name in names[column::columns]]
