"""Models as points, each named where it stands (Beyond, Fig. 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.plots.axes import log_scale_at, nothing_measured, plain_numbers, tick
from beyond_serve.bench.runs.style import MUTED, PAPER, new_figure, series_colour, series_marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Dot:
    """One point. Dots of one `series` share colour and marker."""

    label: str
    x: float
    y: float
    series: str = ""
    void: bool = False


def scatter(
    name: str,
    title: str,
    dots: Sequence[Dot],
    x_label: str,
    y_label: str,
    *,
    y_range: tuple[float, float] | None = None,
    caption: str = "",
) -> Figure:
    """Points over a logarithmic x axis, such as GFLOPs; a dot's label stands where none other does."""
    drawing, (axes,) = new_figure(height=5.0)
    shown = [dot for dot in dots if dot.x > 0 and math.isfinite(dot.x) and math.isfinite(dot.y)]
    if not shown:
        nothing_measured(axes)
        return Figure(name, title, drawing, caption)
    kinds = list(dict.fromkeys(dot.series for dot in shown))
    for index, kind in enumerate(kinds):
        _draw(axes, [dot for dot in shown if dot.series == kind], index)
    _dress(axes, shown, x_label, y_label, y_range)
    if kinds != [""]:
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=len(kinds), labelcolor=MUTED)
    drawing.draw_without_rendering()
    _label(axes, shown)
    return Figure(name, title, drawing, caption)


def _draw(axes: Axes, dots: Sequence[Dot], index: int) -> None:
    label: str | None = dots[0].series or None
    for hollow in (False, True):
        chosen = [dot for dot in dots if dot.void is hollow]
        # A line without points would pull the layout to the figure's corner.
        if chosen:
            axes.plot(
                [dot.x for dot in chosen],
                [dot.y for dot in chosen],
                linestyle="none",
                marker=series_marker(index),
                markersize=7,
                color=series_colour(index),
                markerfacecolor=PAPER if hollow else series_colour(index),
                label=label,
                clip_on=False,
            )
            label = None


def _dress(
    axes: Axes, dots: Sequence[Dot], x_label: str, y_label: str, y_range: tuple[float, float] | None
) -> None:
    low, high = min(dot.x for dot in dots), max(dot.x for dot in dots)
    log_scale_at(axes, _round_ticks(low, high))
    axes.set_xlim(low / 1.35, high * 1.6)
    plain_numbers(axes.yaxis)
    if y_range is not None:
        axes.set_ylim(*y_range)
    axes.set_xlabel(x_label + ("; hollow: void" if any(dot.void for dot in dots) else ""))
    axes.set_ylabel(y_label)


def _round_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    return [float(tick(value)) if value < 1 else value for value in ticks if low / 1.3 <= value <= high * 1.5]


def _label(axes: Axes, dots: Sequence[Dot]) -> None:
    """Beside its dot, at the first of eight places where it covers nothing; dots close together share
    a name only if it is the same one."""
    pixel = axes.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    spots = [tuple(map(float, axes.transData.transform((dot.x, dot.y)))) for dot in dots]
    taken: list[_Box] = [(x - 5 * pixel, y - 5 * pixel, x + 5 * pixel, y + 5 * pixel) for x, y in spots]
    named: set[str] = set()
    far = 10 * pixel
    frame = tuple(map(float, axes.bbox.extents))
    for dot, (x, y) in sorted(zip(dots, spots, strict=True), key=lambda pair: pair[1]):
        if dot.label in named:
            continue
        named.add(dot.label)
        size = (len(dot.label) * 4.6 * pixel, 9.5 * pixel)
        dx, dy, box = _place((x, y), size, taken, 7 * pixel, frame)
        taken.append(box)
        axes.annotate(
            dot.label,
            (dot.x, dot.y),
            xytext=((dx - x) / pixel, (dy - y) / pixel),
            textcoords="offset points",
            ha="left",
            va="bottom",
            fontsize=8,
            in_layout=False,
        )
        if not dx <= x <= box[2] and abs(dx - x if dx > x else x - box[2]) > far:
            _lead(axes, dot, (dx - x if dx > x else box[2] - x, (dy + box[3]) / 2 - y), pixel)


def _lead(axes: Axes, dot: Dot, to: tuple[float, float], pixel: float) -> None:
    """A thin line from the dot to a label that had to stand away from it."""
    axes.annotate(
        "",
        (dot.x, dot.y),
        xytext=(to[0] / pixel, to[1] / pixel),
        textcoords="offset points",
        in_layout=False,
        arrowprops={"arrowstyle": "-", "color": MUTED, "lw": 0.6, "shrinkA": 0, "shrinkB": 4},
    )


def _place(
    spot: tuple[float, float],
    size: tuple[float, float],
    taken: Sequence[_Box],
    away: float,
    frame: Sequence[float],
) -> tuple[float, float, _Box]:
    """The corner and the box of a label of `size` that covers least of `taken` and stays in `frame`."""
    (x, y), (width, height) = spot, size
    choices = []
    for distance in (away, 2 * away, 3.2 * away):
        choices += [
            (x + distance, y - height / 2),
            (x - width / 2, y + distance * 0.8),
            (x - width / 2, y - distance * 0.8 - height),
            (x - distance - width, y - height / 2),
            (x + distance * 0.7, y + distance * 0.6),
            (x + distance * 0.7, y - distance * 0.6 - height),
        ]
    boxes = [(left, bottom, left + width, bottom + height) for left, bottom in choices]
    whole = (frame[0], frame[1], frame[2], frame[3])

    def cost(index: int) -> tuple[float, int]:
        covered = sum(_overlap(boxes[index], other) for other in taken)
        return covered + 4 * (width * height - _overlap(boxes[index], whole)), index

    best = min(range(len(boxes)), key=cost)
    return *choices[best], boxes[best]


def _overlap(one: _Box, other: _Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)
