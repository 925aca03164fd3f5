"""Models as tables and plots: what they cost, and what of a request's time is the DNN's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from beyond_serve.bench.experiments.cpu_time import disturbance
from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.folder import Point, RunFolder
from beyond_serve.bench.runs.tables import Table, number

SMALL_G, LARGE_G = 5.0, 10.0
"""Beyond 4.1's borders. It counts ResNet-50, of 4.1 GMACs and 8.2 GFLOPs, among those below 5: what it calls
GFLOPs are GMACs, and so is the axis here."""


@dataclass(frozen=True, slots=True)
class ModelPoint:
    """One model and image size; None where something was not measured.

    Attributes:
        share: of the server's time for one request alone that is the DNN's, 0 to 1.
        rate: images/s with `in_flight` at once.
        other_us: neither the DNN nor preprocessing.
    """

    name: str
    size: str
    gmacs: float | None
    weights: float | None
    made: bool
    precision: str | None
    share: float | None
    dnn_us: float | None
    preprocess_us: float | None
    other_us: float | None
    rate: float | None
    in_flight: int | None
    share_void: bool
    rate_void: bool

    @property
    def label(self) -> str:
        return f"{self.name}*" if self.made else self.name


def models_of(run: RunFolder) -> list[ModelPoint]:
    """By what they cost, the unknown first."""
    groups: dict[tuple[str, str], dict[str, Point]] = {}
    for point in run.points:
        labels = point["labels"]
        groups.setdefault((labels["model"], labels["size"]), {})[labels["load"]] = point
    found = [_model(name, size, points) for (name, size), points in groups.items()]
    return sorted(found, key=lambda model: model.gmacs or 0.0)


def _model(name: str, size: str, points: dict[str, Point]) -> ModelPoint:
    one, many = points.get("one"), points.get("many")
    cost: dict[str, Any] = next((point["cost"] for point in points.values() if point.get("cost")), {})
    parts = (one or {}).get("parts_us") or {}
    return ModelPoint(
        name=name,
        size=size,
        gmacs=cost.get("gmacs"),
        weights=cost.get("weights"),
        made=bool(cost.get("made")),
        precision=next((p["precision"] for p in points.values() if p.get("precision")), None),
        share=parts.get("dnn_share"),
        dnn_us=parts.get("dnn"),
        preprocess_us=parts.get("preprocess"),
        other_us=parts.get("other"),
        rate=many["load"]["throughput_per_s"] if many else None,
        in_flight=many.get("in_flight") if many else None,
        share_void=bool(one and one["load"]["void"]),
        rate_void=bool(many and many["load"]["void"]),
    )


_COLUMNS = (
    *("model", "image", "precision", "GMACs", "GFLOPs", "weights, M", "preprocess ms", "DNN ms", "other ms"),
    *("DNN's share", "images/s", "in flight", "void"),
)


def tables(run: RunFolder) -> Sequence[Table]:
    models = models_of(run)
    if not models:
        return ()
    rows = [
        (
            model.label,
            model.size,
            model.precision,
            model.gmacs,
            None if model.gmacs is None else 2 * model.gmacs,
            None if model.weights is None else model.weights / 1e6,
            _ms(model.preprocess_us),
            _ms(model.dnn_us),
            _ms(model.other_us),
            None if model.share is None else f"{100 * model.share:.0f} %",
            model.rate,
            model.in_flight,
            " and ".join(
                name for name, void in (("times", model.share_void), ("rate", model.rate_void)) if void
            ),
        )
        for model in models
    ]
    notes = ["times: medians of one request at a time, in the server; images/s in a closed loop"]
    if any(model.made for model in models):
        notes.append("*: made here, no published architecture; random weights")
    notes += disturbance(run.points)
    return [Table("Models", _COLUMNS, rows, notes)]


def _ms(value_us: float | None) -> float | None:
    return None if value_us is None else value_us / 1e3


def plots(run: RunFolder) -> Sequence[Figure]:
    from beyond_serve.bench.runs.plots.scatter import Dot, scatter

    models = [model for model in models_of(run) if model.gmacs]
    sizes = {model.size for model in models}

    def dot(model: ModelPoint, value: float, *, void: bool) -> Dot:
        size = f"{model.size} image" if len(sizes) > 1 else ""
        return Dot(model.label, model.gmacs or 0.0, value, size, void)

    caption = (
        "GMACs are what Beyond's Fig. 4 calls GFLOPs. Its borders are dotted: below 5 the DNN takes less "
        "than half on its RTX 4090, above 10 it takes 51 to 84 %. Stars: networks made for this."
    )
    share = scatter(
        "models-share",
        "What of one request's time is the DNN's",
        [dot(m, 100 * m.share, void=m.share_void) for m in models if m.share is not None],
        "GMACs an image",
        "DNN, % of the server's time",
        y_range=(0, 100),
        caption=caption,
    )
    rate = scatter(
        "models-rate",
        "Throughput by what a model costs",
        [dot(m, m.rate, void=m.rate_void) for m in models if m.rate is not None],
        "GMACs an image",
        "images/s",
        caption="Closed loop, CPU preprocessing.",
    )
    if models:
        _mark(share)
    return [share, rate]


def _mark(figure: Figure) -> None:
    """The paper's borders, where they lie within the axes."""
    from beyond_serve.bench.runs.style import MUTED

    axes = figure.drawing.axes[0]
    low, high = axes.get_xlim()
    axes.axhline(50, color=MUTED, linestyle=":", linewidth=1, zorder=0)
    for border in (SMALL_G, LARGE_G):
        if low < border < high:
            axes.axvline(border, color=MUTED, linewidth=1, zorder=1)
            axes.annotate(
                f"paper's {border:g}",
                (border, 0),
                xytext=(3, 4),
                textcoords="offset points",
                color=MUTED,
                fontsize=8,
            )


def half_point(models: Sequence[ModelPoint]) -> float | None:
    """GMACs from which on the DNN takes half of the time or more: between the neighbours of that border, on a
    logarithmic scale. None if all lie on one side."""
    known = [(model.gmacs, model.share) for model in models if model.gmacs and model.share is not None]
    for (low, below), (high, above) in itertools.pairwise(known):
        if below < 0.5 <= above:
            part = (0.5 - below) / (above - below)
            return math.exp(math.log(low) + part * (math.log(high) - math.log(low)))
    return None


def crossing(run: RunFolder) -> str | None:
    """By image size."""
    told = []
    models = models_of(run)
    for size in dict.fromkeys(model.size for model in models):
        found = half_point([model for model in models if model.size == size])
        if found is not None:
            told.append(f"{number(found)} GMACs ({size})")
    return ", ".join(told) or None


def range_above(run: RunFolder) -> str | None:
    """What is not the DNN's, for models above 10 GMACs."""
    others = [
        100 * (1 - model.share)
        for model in models_of(run)
        if model.share is not None and (model.gmacs or 0.0) > LARGE_G
    ]
    ends = dict.fromkeys(f"{end:.0f}" for end in (min(others), max(others))) if others else {}
    return f"{' to '.join(ends)} %" if ends else None


def resnet50(run: RunFolder) -> str | None:
    """The DNN's share for ResNet-50, if it is among the models."""
    for model in models_of(run):
        if model.name.lower().replace("-", "").startswith("resnet50") and model.share is not None:
            return f"{100 * (1 - model.share):.0f} %"
    return None
