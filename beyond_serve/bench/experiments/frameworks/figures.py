"""The frameworks' points as tables and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from beyond_serve.bench.experiments.frameworks.measure import (
    ALL,
    DECODE,
    NETWORK,
    NORMALISE,
    OURS,
    RESIZE,
    THEIRS,
)
from beyond_serve.bench.experiments.rounds import disturbed
from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.folder import Point, RunFolder
from beyond_serve.bench.runs.tables import Table, number

STEPS = (DECODE, RESIZE, NORMALISE, ALL, NETWORK)


def by_framework(run: RunFolder) -> dict[str, dict[int, Point]]:
    """Of each framework its points, by batch size."""
    found: dict[str, dict[int, Point]] = {}
    for point in run.points:
        labels = point["labels"]
        if labels["part"] == "network":
            found.setdefault(labels["what"], {})[labels["batch"]] = point
    return found


def best(points: Mapping[int, Point]) -> tuple[int, float]:
    """(batch size, images/s) at a framework's best batch size, as the paper gives it."""
    batch = max(points, key=lambda size: points[size]["images_per_s"])
    return batch, float(points[batch]["images_per_s"])


def cumulative_ms(run: RunFolder, what: str, *, cpu: bool = False) -> dict[str, float]:
    """Milliseconds per image on all cores up to each step, of a pipeline; and of the network alone.
    With `cpu`, of CPU time, which other programs change little.

    Ours is one call, which its own clock divides; it normalises in the graph, and writes into the batch.
    """
    points = {
        point["labels"]["step"]: point
        for point in run.points
        if point["labels"]["part"] == "breakdown" and point["labels"]["what"] == what
    }
    found = {
        step: 1e3 * (point["cpu_s"] if cpu else 1 / point["images_per_s"])
        for step in STEPS
        if (point := points.get(step)) is not None
    }
    if what == OURS and ALL in found:
        whole = found[ALL]
        found |= {DECODE: whole * points[ALL]["decode_share"], RESIZE: whole, NORMALISE: whole}
    return found


def over_network(ms: Mapping[str, float], step: str = ALL) -> float | None:
    """How many times as long preprocessing up to `step` takes as the network; above 1 it is the bound."""
    return ms[step] / ms[NETWORK] if step in ms and NETWORK in ms else None


def tables(run: RunFolder) -> Sequence[Table]:
    return [*_network_table(run), *_breakdown_table(run)]


def _network_table(run: RunFolder) -> Sequence[Table]:
    found = by_framework(run)
    if not found:
        return ()
    batches = sorted({batch for points in found.values() for batch in points})
    rows = []
    for name, points in found.items():
        rates = [points[batch]["images_per_s"] if batch in points else None for batch in batches]
        rows.append((name, *rates, f"{number(best(points)[1])} at {best(points)[0]}"))
    first = next(iter(next(iter(found.values())).values()))
    notes = [
        f"{first['model']}, float32 tensors in memory, all cores; medians of {first['rounds']} rounds",
        *disturbed([point for points in found.values() for point in points.values()]),
    ]
    columns = ("images/s", *(f"batch {batch}" for batch in batches), "best")
    return [Table("One network in each framework", columns, rows, notes)]


def _breakdown_table(run: RunFolder) -> Sequence[Table]:
    points = [point for point in run.points if point["labels"]["part"] == "breakdown"]
    rows = [
        (f"{what}{', CPU time' if cpu else ''}", *(ms.get(step) for step in STEPS), _times(ms))
        for cpu in (False, True)
        for what in (THEIRS, OURS)
        if (ms := cumulative_ms(run, what, cpu=cpu))
    ]
    if not rows:
        return ()
    first = points[0]
    notes = [
        f"cumulative: each step with all before it; preprocessing on {first['threads']} threads; the network "
        f"is {first['engine']} on the same cores, batches of {first['batch']}",
        "ours decodes and resizes in one call, which its own clock divides, and writes into the batch; it "
        "normalises in the graph, so its network alone does that too",
        *disturbed(points),
    ]
    return [Table("One image, step after step, ms", ("", *STEPS, "preprocessing / network"), rows, notes)]


def _times(ms: Mapping[str, float]) -> str | None:
    """Table 2's question, with its evidence."""
    ratio = over_network(ms)
    if ratio is None:
        return None
    return f"{number(ratio)}x, {'preprocessing' if ratio > 1 else 'network'}-bound"


def plots(run: RunFolder) -> Sequence[Figure]:
    return [_network_plot(run), _breakdown_plot(run)]


def _network_plot(run: RunFolder) -> Figure:
    from beyond_serve.bench.runs.plots.curves import Panel, Series, curves

    series = [
        Series(
            name,
            list(points),
            [point["images_per_s"] for point in points.values()],
            low=[point["low"] for point in points.values()],
            high=[point["high"] for point in points.values()],
        )
        for name, points in by_framework(run).items()
    ]
    caption = (
        "Medians of interleaved rounds, bands from the lowest to the highest. SMOL, Table 1: ResNet-50 on a "
        "T4 in Keras 243, PyTorch 424, TensorRT 4,513 images/s."
    )
    title = "One network in each framework"
    return curves("frameworks", title, "batch size", [Panel("images/s", series)], caption=caption)


def _breakdown_plot(run: RunFolder) -> Figure:
    from beyond_serve.bench.runs.plots.bars import BarSeries, grouped_bars

    found = {what: cumulative_ms(run, what) for what in (THEIRS, OURS)}
    series = [BarSeries(what, [ms.get(step) for step in STEPS]) for what, ms in found.items() if ms]
    values = [value for ms in found.values() for value in ms.values() if value > 0]
    return grouped_bars(
        "breakdown",
        "One image, step after step, against the network",
        STEPS,
        series,
        "ms per image, all cores",
        log=bool(values) and max(values) > 30 * min(values),
        caption="Each bar has all steps before it. Ours normalises in the network's graph. SMOL, Fig. 1: "
        "preprocessing takes 7.1 times as long as ResNet-50 on a T4 with 4 vCPUs.",
    )
