"""Rungs from the plain to the tuned, each adding one thing (Beyond, Fig. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.plots.axes import nothing_measured, plain_numbers, value_label
from beyond_serve.bench.runs.style import GRID, MUTED, PAPER, SERIES, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GAIN, _LOSS, _BASE = SERIES[0], SERIES[1], "#a9c9de"


@dataclass(frozen=True, slots=True)
class Rung:
    """One set-up. `value` is None where it was not measured; `why` then says why ("needs a GPU")."""

    label: str
    value: float | None
    published: float | None = None
    void: bool = False
    why: str = ""


def ladder(
    name: str, title: str, rungs: Sequence[Rung], unit: str = "images/s", *, caption: str = ""
) -> Figure:
    """A bar per rung: pale up to what the measured rung before it reached, dark what this one adds.

    A paper's figures are hatched below ours, on the same axis.
    """
    drawing, (axes,) = new_figure(height=1.5 + 0.62 * max(len(rungs), 1))
    values = [value for rung in rungs for value in (rung.value, rung.published) if value is not None]
    if not values:
        nothing_measured(axes)
        return Figure(name, title, drawing, caption)
    furthest = max(values)
    before = first = None
    for row, rung in enumerate(rungs):
        _draw_published(axes, row, rung, furthest)
        if rung.value is None:
            axes.text(
                0.008 * furthest,
                row + _place(rung)[0],
                rung.why or "not measured",
                va="center",
                color=MUTED,
                fontsize=8.5,
            )
            continue
        _draw_rung(axes, row, rung, before)
        text = f"{value_label(rung.value)}{_gains(rung.value, before, first)}"
        axes.text(
            rung.value + 0.012 * furthest,
            row + _place(rung)[0],
            text,
            va="center",
            fontsize=9,
            fontweight="bold",
        )
        before, first = rung.value, rung.value if first is None else first
    _dress(axes, rungs, unit, furthest)
    return Figure(name, title, drawing, caption)


def _gains(value: float, before: float | None, first: float | None) -> str:
    if not before or not first:
        return ""
    step = f"   {value / before:.2f}x"
    return step if before == first else f"{step}, {value / first:.2f}x in all"


def _place(rung: Rung) -> tuple[float, float]:
    """Of the measured bar: its offset from the row's middle and its height."""
    return (0.0, 0.46) if rung.published is None else (-0.14, 0.36)


def _draw_rung(axes: Axes, row: int, rung: Rung, before: float | None) -> None:
    assert rung.value is not None
    offset, height = _place(rung)
    place = row + offset
    if rung.void:
        axes.barh(place, rung.value, height=height, color="none", edgecolor=_GAIN, linewidth=1.4)
        return
    base = rung.value if before is None else min(before, rung.value)
    axes.barh(place, base, height=height, color=_BASE, edgecolor="none")
    if before is None:
        return
    lost = before > rung.value
    axes.barh(
        place,
        abs(rung.value - before),
        left=base,
        height=height,
        color="none" if lost else _GAIN,
        edgecolor=_LOSS if lost else "none",
        linestyle=":" if lost else "-",
    )


def _draw_published(axes: Axes, row: int, rung: Rung, furthest: float) -> None:
    if rung.published is None:
        return
    place = row + 0.2
    axes.barh(
        place, rung.published, height=0.2, facecolor=PAPER, edgecolor=MUTED, hatch="////", linewidth=0.8
    )
    axes.text(
        rung.published + 0.012 * furthest,
        place,
        value_label(rung.published),
        va="center",
        color=MUTED,
        fontsize=8,
    )


def _dress(axes: Axes, rungs: Sequence[Rung], unit: str, furthest: float) -> None:
    axes.set_yticks(range(len(rungs)), [rung.label for rung in rungs])
    axes.set_ylim(len(rungs) - 0.5, -0.55)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", color=GRID)
    axes.set_xlim(0, furthest * 1.28)
    plain_numbers(axes.xaxis)
    notes = [unit]
    if any(rung.published is not None for rung in rungs):
        notes.append("hatched: published")
    if any(rung.void for rung in rungs):
        notes.append("hollow: void")
    axes.set_xlabel("; ".join(notes))
