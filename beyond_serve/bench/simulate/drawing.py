"""Tables and figures of simulated points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.plots.curves import Panel, Series, curves
from beyond_serve.bench.runs.tables import Table
from beyond_serve.bench.simulate.multi_gpu import CURVES, HOSTS
from beyond_serve.bench.simulate.points import Point, having
from beyond_serve.bench.simulate.questions import BURSTS, burst_ms

Get = Callable[[Point], Any]
_LOADS = "load, times capacity"


def tables(points: Sequence[Point]) -> list[Table]:
    """One for each kind of points there is."""
    drawn = [
        _policies(having(points, part="policies")),
        _unanswered(having(points, part="policies")),
        _overload(having(points, question="overload")),
        _bursts(having(points, question="bursts")),
        _waits(having(points, question="waiting")),
        _tight(having(points, question="tight")),
        *(_hosts(host.name, host.assumed, having(points, figure=9, host=host.name)) for host in HOSTS),
        _check(having(points, part="check")),
    ]
    return [table for table in drawn if table.rows]


def figures(points: Sequence[Point]) -> list[Figure]:
    drawn: list[Figure] = []
    policies = having(points, part="policies")
    if policies:
        drawn += _policy_figures(policies)
    overload = having(points, question="overload", **{"arrivals seed": _first_seed(points)})
    if overload:
        panel = Panel("answers/s within 50 ms", _by("policy", "load", overload, _load("goodput_per_s")))
        title = "Goodput under overload, SLO 50 ms"
        drawn.append(curves("overload", title, _LOADS, [panel], log_x=False))
    waits = having(points, question="waiting")
    if waits:
        panels = [_wait_panel(count, having(waits, instances=count)) for count in _labels(waits, "instances")]
        drawn.append(curves("waiting", "What waiting for larger batches costs", _LOADS, panels, log_x=False))
    tight = having(points, question="tight")
    if tight:
        panels = [
            _tight_panel(count, having(tight, instances=count)) for count in _labels(tight, "instances")
        ]
        drawn.append(curves("tight", "Time that instances spend, SLO 22 ms", _LOADS, panels, log_x=False))
    for number, host in enumerate(HOSTS, 1):
        found = having(points, figure=9, host=host.name)
        if found:
            panel = Panel("images/s", _by("curve", "gpus", found, _load("throughput_per_s")), log=True)
            title = f"Beyond's Fig. 9: {host.name}"
            drawn.append(curves(f"figure-9-{number}", title, "GPUs", [panel], caption=host.assumed))
    return drawn


def _load(*path: str) -> Get:
    def get(point: Point) -> Any:
        value: Any = point["load"]
        for name in path:
            value = value[name]
        return value

    return get


def _simulation(*path: str) -> Get:
    def get(point: Point) -> Any:
        value: Any = point["simulation"]
        for name in path:
            value = value[name]
        return value

    return get


def _labels(points: Sequence[Point], name: str) -> list[Any]:
    return list(dict.fromkeys(point["labels"][name] for point in points))


def _by(line: str, x: str, points: Sequence[Point], y: Get) -> list[Series]:
    """A line for each value of one label, over another."""
    found = []
    for label in _labels(points, line):
        mine = having(points, **{line: label})
        found.append(Series(str(label), [p["labels"][x] for p in mine], [y(p) for p in mine]))
    return found


def _first_seed(points: Sequence[Point]) -> object:
    seeds = [p["labels"]["arrivals seed"] for p in points if "arrivals seed" in p["labels"]]
    return min(seeds, default=None)


def _policies(points: Sequence[Point]) -> Table:
    columns = ("policy", "load", "goodput/s", "answered/s", "mean ms", "p50 ms", "p99 ms", "batch", "busy")
    rows = [
        (
            p["labels"]["policy"],
            p["labels"]["load"],
            *(_load(name)(p) for name in ("goodput_per_s", "throughput_per_s")),
            *(_load("latency_ms", name)(p) for name in ("mean", "p50", "p99")),
            p["load"]["batch_size_mean"],
            p["simulation"]["busy"],
        )
        for p in points
    ]
    return Table("Policies over loads", columns, rows, ["latencies are those of answered requests"])


def _unanswered(points: Sequence[Point]) -> Table:
    kinds = list(dict.fromkeys(name for p in points for name in p["load"]["errors"]))
    rows = [
        (
            p["labels"]["policy"],
            p["labels"]["load"],
            *(p["load"]["errors"].get(kind, 0) for kind in kinds),
            p["simulation"]["wasted"],
        )
        for p in points
        if p["load"]["errors"]
    ]
    columns = ("policy", "load", *(kind.partition(":")[0] for kind in kinds), "wasted")
    notes = [kind.replace(":", ": the", 1) for kind in kinds if ":" in kind]
    return Table("Not answered", columns, rows, [*notes, "wasted: were run although they had ended"])


def _overload(points: Sequence[Point]) -> Table:
    rows = []
    for policy in _labels(points, "policy"):
        for load in _labels(points, "load"):
            mine = having(points, policy=policy, load=load)
            goods = [p["load"]["goodput_per_s"] for p in mine]
            p99 = [value for p in mine if (value := p["load"]["latency_ms"]["p99"]) is not None]
            if goods:
                rows.append((policy, load, min(goods), max(goods), max(p99, default=None), len(goods)))
    columns = ("policy", "load", "least goodput/s", "greatest", "greatest p99 ms", "seeds")
    return Table("Goodput within 50 ms", columns, rows, ["unaware: the server knows no deadlines"])


def _bursts(points: Sequence[Point]) -> Table:
    rows = [
        (
            p["labels"]["policy"],
            p["labels"]["arrivals"],
            p["load"]["latency_ms"]["mean"],
            p["load"]["latency_ms"]["p99"],
            burst_ms(p["labels"]["arrivals"]) if p["labels"]["arrivals"] in BURSTS[1:] else None,
        )
        for p in points
    ]
    return Table(
        "Bursts at 0.8 of capacity", ("policy", "arrivals", "mean ms", "p99 ms", "one burst ms"), rows
    )


def _waits(points: Sequence[Point]) -> Table:
    rows = []
    for count in _labels(points, "instances"):
        for load in _labels(points, "load"):
            cells: list[object] = [count, load]
            for policy, delay_us in (("fixed", 0), ("fixed", 5000), ("adaptive", 0)):
                found = having(points, instances=count, load=load, policy=policy, max_delay_us=delay_us)
                latency = found[0]["load"]["latency_ms"] if found else {"mean": None, "p99": None}
                cells += [latency["mean"], latency["p99"]]
            rows.append(cells)
    columns = (
        "instances",
        "load",
        *(f"{name}, {value}" for name in _KINDS for value in ("mean ms", "p99 ms")),
    )
    return Table("What waiting costs", columns, rows)


_KINDS = ("fixed 0 ms", "fixed 5 ms", "adaptive")


def _tight(points: Sequence[Point]) -> Table:
    rows = [
        (
            p["labels"]["instances"],
            p["labels"]["load"],
            p["labels"]["policy"],
            100 * p["load"]["goodput_per_s"] / p["load"]["offered_per_s"],
            p["simulation"]["busy"],
            p["load"]["batch_size_mean"],
        )
        for p in points
    ]
    columns = ("instances", "load", "policy", "in time %", "busy", "batch")
    return Table("Time that instances spend, SLO 22 ms", columns, rows)


def _hosts(name: str, assumed: str, points: Sequence[Point]) -> Table:
    rows = []
    for gpus in _labels(points, "gpus"):
        cells = [having(points, gpus=gpus, curve=curve) for curve in CURVES]
        rows.append((gpus, *(c[0]["load"]["throughput_per_s"] if c else None for c in cells)))
    return Table(f"Fig. 9, images/s: {name}", ("GPUs", *CURVES), rows, [f"assumed: {assumed}"])


def _check(points: Sequence[Point]) -> Table:
    rows = [
        (
            p["labels"]["arrivals"],
            p["labels"]["load"],
            p["labels"]["side"],
            p["load"]["throughput_per_s"],
            *(p["load"]["latency_from_send_ms"][name] for name in ("mean", "p50", "p99")),
            p["load"]["batch_size_mean"],
        )
        for p in points
    ]
    columns = ("arrivals", "load", "side", "answered/s", "mean ms", "p50 ms", "p99 ms", "batch")
    notes = ["both from the moments at which the generator really sent, and latencies count from there"]
    notes += [
        f"void and not judged at {p['labels']['load']:g}: {'; '.join(p['load']['void'])}"
        for p in points
        if p["load"]["void"]
    ]
    return Table("The simulation beside a real server", columns, rows, notes)


def _policy_figures(points: Sequence[Point]) -> list[Figure]:
    def lines(y: Get) -> list[Series]:
        return _by("policy", "load", points, y)

    goodput = Panel("answers/s within the SLO", lines(_load("goodput_per_s")))
    if points[0]["load"]["slo_ms"] is None:
        goodput = Panel("answers/s", lines(_load("throughput_per_s")))
    latencies = [Panel(f"{name} ms", lines(_load("latency_ms", name)), log=True) for name in ("p50", "p99")]
    batches = [
        Panel("requests a batch, mean", lines(_load("batch_size_mean"))),
        Panel("instances' time, share", lines(_simulation("busy"))),
    ]
    highest = max(_labels(points, "load"))
    depth = [
        Series(
            p["labels"]["policy"], p["simulation"]["queue"]["seconds"], p["simulation"]["queue"]["waiting"]
        )
        for p in having(points, load=highest)
    ]
    queue = f"Requests waiting, at {highest:g} times capacity"
    return [
        curves("goodput", "Goodput over load", _LOADS, [goodput], log_x=False),
        curves("latency", "Latency of answered requests over load", _LOADS, latencies, log_x=False),
        curves("batches", "Batches over load", _LOADS, batches, log_x=False),
        curves("queue", queue, "seconds", [Panel("requests", depth)], log_x=False),
    ]


def _wait_panel(instances: int, points: Sequence[Point]) -> Panel:
    lines = []
    for label, (policy, delay_us) in zip(
        _KINDS, (("fixed", 0), ("fixed", 5000), ("adaptive", 0)), strict=True
    ):
        mine = having(points, policy=policy, max_delay_us=delay_us)
        mean = [p["load"]["latency_ms"]["mean"] for p in mine]
        lines.append(Series(label, [p["labels"]["load"] for p in mine], mean))
    return Panel("mean latency ms", lines, heading=f"{instances} instance{'s' * (instances > 1)}", log=True)


def _tight_panel(instances: int, points: Sequence[Point]) -> Panel:
    lines = _by("policy", "load", points, _simulation("busy"))
    return Panel("instances' time, share", lines, heading=f"{instances} instance{'s' * (instances > 1)}")
