"""A ladder's points as tables and plots."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from beyond_serve.bench.experiments.ladder.rungs import PUBLISHED
from beyond_serve.bench.experiments.search.measure import disturbed
from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.folder import Point, RunFolder
from beyond_serve.bench.runs.tables import Table, number

_LEAST_SHARE_VOID = 0.5


@dataclass(frozen=True, slots=True)
class Step:
    """One rung as measured: medians over its turns; `rate` None where there is none.

    Attributes:
        p99_ms: None where too few requests were answered to tell.
        void: half of its turns or more are void.
    """

    name: str
    adds: str
    rate: float | None
    rates: tuple[float, ...]
    p99_ms: float | None
    batch: float | None
    concurrency: int
    counterpart: int
    why: str
    void: bool


def steps_of(run: RunFolder) -> list[Step]:
    """The rungs in their order, measured or not."""
    points: dict[str, list[Point]] = {}
    for point in sorted(
        (p for p in run.points if "rung" in p["labels"]), key=lambda point: int(point["place"])
    ):
        points.setdefault(point["labels"]["rung"], []).append(point)
    return [_step(name, found) for name, found in points.items()]


def _step(name: str, points: Sequence[Point]) -> Step:
    loads = [point["load"] for point in points if point.get("load")]
    rates = tuple(float(load["throughput_per_s"]) for load in loads)
    tails = [load["latency_ms"]["p99"] for load in loads if load["latency_ms"]["p99"] is not None]
    batches = [load["batch_size_mean"] for load in loads if load["batch_size_mean"] is not None]
    voids = sum(bool(load["void"]) for load in loads)
    first = points[0]
    return Step(
        name=name,
        adds=first["adds"],
        rate=statistics.median(rates) if rates else None,
        rates=rates,
        p99_ms=statistics.median(tails) if tails else None,
        batch=statistics.median(batches) if batches else None,
        concurrency=first["concurrency"],
        counterpart=first["counterpart"],
        why=first["why"],
        void=bool(loads) and voids >= _LEAST_SHARE_VOID * len(loads),
    )


def tables(run: RunFolder) -> Sequence[Table]:
    steps = steps_of(run)
    if not steps:
        return ()
    measured = [step for step in steps if step.rate]
    bottom = measured[0].rate if measured else None
    rows: list[Sequence[object]] = []
    before: float | None = None
    for step in steps:
        rows.append(
            (
                step.name,
                step.adds,
                step.rate if step.rate is not None else step.why,
                f"{number(min(step.rates))} to {number(max(step.rates))}" if step.rates else None,
                _times(step.rate, before),
                _times(step.rate, bottom),
                step.p99_ms,
                step.batch,
                step.concurrency or None,
            )
        )
        before = step.rate or before
    columns = (
        "rung",
        "adds",
        "images/s",
        "lowest to highest",
        "step",
        "in all",
        "p99 ms",
        "batch",
        "in flight",
    )
    return [Table("The ladder", columns, rows, _notes(run, steps)), _paper(steps)]


def _notes(run: RunFolder, steps: Sequence[Step]) -> list[str]:
    turns = max(len(step.rates) for step in steps)
    model = next(point["model"] for point in run.points if "rung" in point["labels"])
    notes = [f"model {model}; medians of {turns} turns, in each of which every rung was loaded once"]
    if any(step.void for step in steps):
        notes.append(f"void in half of the turns or more: {', '.join(s.name for s in steps if s.void)}")
    return notes + disturbed([point for point in run.points if "turn" in point["labels"]])


def _times(value: float | None, base: float | None) -> str | None:
    return f"{value / base:.2f}x" if value is not None and base else None


def _paper(steps: Sequence[Step]) -> Table:
    """Steps side by side: rates of another machine and model mean nothing beside ours, factors may."""
    ours = {step.counterpart: step for step in steps if step.counterpart}
    bottom = ours[1].rate if 1 in ours else None
    rows: list[Sequence[object]] = []
    for index, (what, rate) in PUBLISHED.items():
        step = ours.get(index)
        rows.append(
            (
                what,
                rate,
                f"{rate / 431:.2f}x" if rate else "in the figure only",
                step.name if step else None,
                _times(step.rate, bottom) if step else None,
            )
        )
    columns = ("the paper's rung", "images/s", "in all", "ours", "in all")
    notes = [
        "Beyond 2.3, Fig. 3: ViT-Base, i9-13900K and one RTX 4090. Its text says more than 8x, its figures "
        "1600 / 431 = 3.7x"
    ]
    return Table("Beside the paper", columns, rows, notes)


def plots(run: RunFolder) -> Sequence[Figure]:
    from beyond_serve.bench.runs.plots.ladder import Rung as Bar
    from beyond_serve.bench.runs.plots.ladder import ladder

    steps = steps_of(run)
    model = next((point["model"] for point in run.points if "rung" in point["labels"]), "")
    bars = [Bar(step.name, step.rate, void=step.void, why=step.why) for step in steps]
    caption = "Dark: what a rung adds to the one above it; dotted: what it loses. Medians of turns."
    title = f"From a plain loop to the tuned server: {model}"
    return [ladder("ladder", title, bars, caption=caption), _compared(steps)]


def _compared(steps: Sequence[Step]) -> Figure:
    from beyond_serve.bench.runs.plots.bars import BarSeries, grouped_bars

    bottom = next((step.rate for step in steps if step.counterpart == 1), None)
    chosen = sorted((step for step in steps if step.counterpart), key=lambda step: step.counterpart)
    ours = [step.rate / bottom if bottom and step.rate is not None else None for step in chosen]
    series = [
        BarSeries("ours", ours, void=[step.void for step in chosen]),
        BarSeries("Beyond, Fig. 3", [_published_factor(step.counterpart) for step in chosen], published=True),
    ]
    return grouped_bars(
        "ladder-factors",
        "The steps beside the paper's",
        [step.name for step in chosen],
        series,
        "times the plain loop",
        caption="Over the plain loop: ours on this CPU, the paper's with ViT-Base on an RTX 4090. Where its "
        "text gives no number there is no bar.",
    )


def _published_factor(counterpart: int) -> float | None:
    rate = PUBLISHED[counterpart][1]
    return None if rate is None else rate / 431


def factor(run: RunFolder, name: str) -> str | None:
    """A rung's rate over the plain loop's."""
    rates = {step.name: step.rate for step in steps_of(run)}
    return _times(rates.get(name), rates.get("plain loop"))


def highest(run: RunFolder) -> str | None:
    steps = [step for step in steps_of(run) if step.rate]
    if len(steps) < 2:
        return None
    best = max(steps, key=lambda step: step.rate or 0.0)
    return f"{_times(best.rate, steps[0].rate)} ({best.name})"


def tails(run: RunFolder) -> str | None:
    """p99 of fixed and of dynamic batches."""
    found = {step.name: step.p99_ms for step in steps_of(run)}
    fixed, dynamic = found.get("fixed batches"), found.get("dynamic batching")
    return f"{number(fixed)} to {number(dynamic)} ms" if fixed and dynamic else None


def gained(run: RunFolder) -> str | None:
    """What the search's settings bring over dynamic batching."""
    rates = {step.name: step.rate for step in steps_of(run)}
    before, after = rates.get("dynamic batching"), rates.get("search's settings")
    return f"{after - before:+,.0f} images/s" if before and after else None
