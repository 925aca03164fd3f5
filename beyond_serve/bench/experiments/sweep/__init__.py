"""`beyond-bench sweep`: concurrency from 1 to 4096, and what of the latency is queueing (Beyond 4.3, Fig. 5).

plan       what is measured next, and when it is enough
measure    the sweep
figures    tables and plots
"""

from __future__ import annotations

from beyond_serve.bench.experiments.experiment import Experiment, PublishedFigure
from beyond_serve.bench.experiments.serving import gpu_gap
from beyond_serve.bench.experiments.sweep.figures import (
    BEST_RANGE,
    of_kind,
    plots,
    queue_ms,
    queue_share,
    rate,
    tables,
)
from beyond_serve.bench.experiments.sweep.measure import add_arguments, run
from beyond_serve.bench.experiments.sweep.plan import knee
from beyond_serve.bench.runs.folder import Point, RunFolder
from beyond_serve.bench.runs.tables import number


def _each(say: str, told: dict[str, str]) -> str | None:
    said = [f"{text} ({name})" for name, text in told.items() if text]
    return f"{say}{'; '.join(said)}" if said else None


def _points(run: RunFolder) -> dict[str, list[Point]]:
    return {", ".join(name): points for name, points in of_kind(run, "closed").items()}


def _at(point: Point) -> str:
    return f"at {point['labels']['concurrency']}{', void' if point['load']['void'] else ''}"


def best_range(run: RunFolder) -> str | None:
    """From which concurrency on the throughput is within 5 % of the best."""
    knees = {
        name: knee(
            [(point["labels"]["concurrency"], rate(point)) for point in points if not point["load"]["void"]]
        )
        for name, points in _points(run).items()
    }
    return _each("95 % of the best from ", {name: str(found or "") for name, found in knees.items()})


def shares_in_range(run: RunFolder) -> str | None:
    """Queueing's share at the ends of the paper's range."""
    told = {}
    for name, points in _points(run).items():
        ends = [point for point in points if point["labels"]["concurrency"] in BEST_RANGE]
        shares = [(share, _at(point)) for point in ends if (share := queue_share(point)) is not None]
        told[name] = ", ".join(f"{share:.0f} % {at}" for share, at in shares)
    return _each("", told)


def longest_queue(run: RunFolder) -> str | None:
    """Seconds in queues at the highest concurrency that was measured."""
    told = {}
    for name, points in _points(run).items():
        last = max(points, key=lambda point: int(point["labels"]["concurrency"]))
        waited = queue_ms(last)
        told[name] = "" if waited is None else f"{number(waited / 1e3)} s {_at(last)}"
    return _each("", told)


def saturation(run: RunFolder) -> str | None:
    """Throughput at the highest concurrency beside the best."""
    told = {}
    for name, points in _points(run).items():
        last = max(points, key=lambda point: int(point["labels"]["concurrency"]))
        best = max(map(rate, points))
        share = f"{100 * rate(last) / best:.0f} % of the best" if best else ""
        told[name] = share and f"{share} {_at(last)}"
    return _each("", told)


_WHERE, _HARDWARE = "Beyond 4.3, Fig. 5", "i9-13900K and one RTX 4090"
EXPERIMENT = Experiment(
    name="sweep",
    help="throughput, latency and queueing over the concurrency (Beyond, Fig. 5)",
    add_arguments=add_arguments,
    run=run,
    tables=tables,
    plots=plots,
    published=(
        PublishedFigure("best concurrencies", "64 to 512", _WHERE, best_range, _HARDWARE),
        PublishedFigure(
            "queueing's share of the latency there", "34 to 91 %", _WHERE, shares_in_range, _HARDWARE
        ),
        PublishedFigure("longest queueing, at 4096", "up to 3 s", _WHERE, longest_queue, _HARDWARE),
        PublishedFigure(
            "throughput at very high concurrency, CPU preprocessing",
            "saturates, flat",
            _WHERE,
            saturation,
            _HARDWARE,
        ),
        PublishedFigure("the same, GPU preprocessing", "higher, then declines", _WHERE, hardware=_HARDWARE),
    ),
    cannot=lambda: (gpu_gap(),),
)
