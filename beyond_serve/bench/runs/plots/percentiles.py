"""Latency over its percentile, the tail stretched (as HdrHistogram's plotter draws it)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.plots.axes import end_labels, log_y, nothing_measured
from beyond_serve.bench.runs.style import new_figure, series_colour

_TICKS = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)


@dataclass(frozen=True, slots=True)
class Latencies:
    """One curve.

    Attributes:
        stretched: 1 / (1 - percentile), rising, from 1.
        milliseconds: the latency at each.
        thin: beside another curve, such as the from-send one beside the one from schedule.
    """

    label: str
    stretched: NDArray[np.float64]
    milliseconds: NDArray[np.float64]
    thin: bool = False

    @classmethod
    def from_requests(cls, label: str, milliseconds: NDArray[np.floating], thin: bool = False) -> Latencies:
        """Of single requests. The curve ends where one request is left, which is the greatest one."""
        values = np.sort(milliseconds[np.isfinite(milliseconds)]).astype(np.float64)
        count = len(values)
        if count == 0:
            return cls(label, np.empty(0), np.empty(0), thin)
        stretched = np.geomspace(1, count, min(400, count))
        ranks = np.ceil((1 - 1 / stretched) * count - 1e-9).astype(int).clip(1, count) - 1
        ranks[-1] = count - 1
        return cls(label, stretched, values[ranks], thin)

    @classmethod
    def from_summary(cls, label: str, latency_ms: Mapping[str, float], thin: bool = False) -> Latencies:
        """Of a load summary's `latency_ms`, whose percentiles are keyed "p50" to "p99.99"."""
        found = sorted(
            (float(key[1:]), float(value))
            for key, value in latency_ms.items()
            if key.startswith("p") and value is not None
        )
        stretched = np.array([1 / (1 - percentile / 100) for percentile, _ in found])
        return cls(label, stretched, np.array([value for _, value in found]), thin)


def percentile_curves(name: str, title: str, lines: Sequence[Latencies], caption: str = "") -> Figure:
    """One curve each, labelled at its end with its greatest latency."""
    drawing, (axes,) = new_figure(width=8.6, height=4.4)
    drawn = [line for line in lines if len(line.stretched)]
    if not drawn:
        nothing_measured(axes)
        return Figure(name, title, drawing, caption)
    colours = {label: series_colour(i) for i, label in enumerate(dict.fromkeys(_base(ln) for ln in drawn))}
    for line in drawn:
        axes.plot(
            line.stretched,
            line.milliseconds,
            color=colours[_base(line)],
            linewidth=1.2 if line.thin else 2.0,
            linestyle=(0, (4, 2)) if line.thin else "-",
        )
    furthest = max(float(line.stretched[-1]) for line in drawn)
    axes.set_xscale("log")
    axes.set_xlim(1, furthest)
    shown = [percentile for percentile in _TICKS if 1 / (1 - percentile) <= furthest * 1.001]
    axes.set_xticks([1 / (1 - p) for p in shown], [f"{p * 100:.7g} %" for p in shown])
    axes.minorticks_off()
    log_y(axes, [float(v) for line in drawn for v in line.milliseconds])
    axes.set_xlabel("percentile of requests; each step holds a tenth of the one before")
    axes.set_ylabel("latency, ms")
    drawing.draw_without_rendering()
    ends = [
        (float(ln.stretched[-1]), float(ln.milliseconds[-1]), ln.label, colours[_base(ln)]) for ln in drawn
    ]
    end_labels(axes, ends)
    return Figure(name, title, drawing, caption)


def _base(line: Latencies) -> str:
    """A thin curve has the colour of the one whose label begins its own."""
    return line.label.partition(",")[0]
