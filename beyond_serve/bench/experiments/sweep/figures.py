"""A sweep's points as tables and plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from beyond_serve.bench.experiments.cpu_time import disturbance
from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.folder import Point, RunFolder
from beyond_serve.bench.runs.tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from beyond_serve.bench.runs.plots.curves import Panel, Series

BEST_RANGE = (64, 512)
"""The paper's optimal concurrencies, and queueing's share of the latency there, in per cent."""
BEST_SHARES = (34.0, 91.0)

Value = Callable[[Point], float | None]


def queue_ms(point: Point) -> float | None:
    """Milliseconds a mean request waits in the server: for a decoder and for its batch. None untraced."""
    mean = (point["load"]["stages_ms"] or {}).get("mean")
    return None if mean is None else float(mean["decode_wait"] + mean["batch_wait"])


def queue_share(point: Point) -> float | None:
    """Per cent of the mean latency, from the schedule, that is waiting in the server."""
    return _percent(point, queue_ms(point))


def network_share(point: Point) -> float | None:
    """Per cent of the mean latency outside of the server's own total: sockets, and both sides' loops."""
    mean = (point["load"]["stages_ms"] or {}).get("mean")
    return None if mean is None else _percent(point, float(mean["network"]))


def _percent(point: Point, part_ms: float | None) -> float | None:
    latency = point["load"]["latency_ms"]["mean"]
    return None if part_ms is None or not latency else 100 * part_ms / float(latency)


def batch_size(point: Point) -> float | None:
    size = point["load"]["batch_size_mean"]
    return None if size is None else float(size)


def _latency(name: str) -> Value:
    def value(point: Point) -> float | None:
        found = point["load"]["latency_ms"].get(name)
        return None if found is None else float(found)

    return value


def rate(point: Point) -> float:
    return float(point["load"]["throughput_per_s"])


def of_kind(run: RunFolder, arrivals: str) -> dict[tuple[str, str], list[Point]]:
    """Points of closed loops or of random arrivals, by model and size."""
    found: dict[tuple[str, str], list[Point]] = {}
    for point in run.points:
        labels = point["labels"]
        if labels.get("arrivals") == arrivals:
            found.setdefault((labels["model"], labels["size"]), []).append(point)
    return found


def tables(run: RunFolder) -> Sequence[Table]:
    found = [_closed(*group) for group in of_kind(run, "closed").items()]
    return [*found, *(_open(*group) for group in of_kind(run, "poisson").items())]


def _closed(name: tuple[str, str], points: Sequence[Point]) -> Table:
    columns = (
        *("concurrency", "answers/s", "mean ms", "p50 ms", "p99 ms", "queue ms", "queue %", "network %"),
        *("batch", "CPU %", "others %", "errors %", ""),
    )
    rows = [(point["labels"]["concurrency"], *_cells(point), *_server(point)) for point in points]
    notes = [
        "queue: waiting for a decoder and for the batch; network: what the client waits beyond the server's "
        "own total, which holds what lies unread in its sockets; CPU: of the server's cores, by the server "
        "and by other programs",
        *_remarks(points),
    ]
    return Table(f"Closed loop: {', '.join(name)}", columns, rows, notes)


def _open(name: tuple[str, str], points: Sequence[Point]) -> Table:
    columns = (
        *("load %", "offered/s", "answers/s", "mean ms", "p50 ms", "p99 ms", "queue ms", "queue %"),
        *("network %", "batch", "CPU %", "others %", "errors %", ""),
    )
    rows = [
        (100 * point["labels"]["load"], point["load"]["offered_per_s"], *_cells(point), *_server(point))
        for point in points
    ]
    notes = ["load: share of the closed loop's best throughput", *_remarks(points)]
    return Table(f"Random arrivals (Poisson): {', '.join(name)}", columns, rows, notes)


def _cells(point: Point) -> tuple[object, ...]:
    latencies = (_latency(name)(point) for name in ("mean", "p50", "p99"))
    return (rate(point), *latencies, queue_ms(point), queue_share(point), network_share(point))


def _server(point: Point) -> tuple[object, ...]:
    shares = (point["server"].get(name) for name in ("cpu", "others_cpu"))
    return (
        batch_size(point),
        *(None if share is None else 100 * share for share in shares),
        100 * point["load"]["error_rate"],
        "void" if point["load"]["void"] else "",
    )


def _remarks(points: Sequence[Point]) -> list[str]:
    void = [
        f"VOID at {point['labels'].get('concurrency') or point['labels'].get('load')}: {reason}"
        for point in points
        for reason in point["load"]["void"]
    ]
    return [*disturbance(points), *void]


def plots(run: RunFolder) -> Sequence[Figure]:
    closed, open_loop = of_kind(run, "closed"), of_kind(run, "poisson")
    found = _closed_plots(closed) if closed or not open_loop else []
    return [*found, _open_plot(open_loop)] if open_loop else found


def _closed_plots(groups: dict[tuple[str, str], list[Point]]) -> list[Figure]:
    from beyond_serve.bench.runs.plots.curves import Panel, curves

    several = len(groups) > 1
    what = "concurrency (requests in flight)"

    def series(value: Value, suffix: str = "") -> list[Series]:
        return _series(groups, "concurrency", value, several=several, suffix=suffix)

    load = curves(
        "sweep",
        "Throughput and latency over concurrency",
        what,
        [
            Panel("answers per second", series(rate), "Throughput"),
            Panel(
                "latency from schedule, ms",
                [*series(_latency("mean"), "mean"), *series(_latency("p99"), "p99")],
                "Mean and tail latency",
                log=True,
            ),
        ],
        caption="Closed loop. Grey: 64 to 512, which Beyond, Fig. 5 finds best for its GPU server.",
    )
    waiting = curves(
        "sweep-queue",
        "What waiting in the queues takes",
        what,
        [
            Panel("seconds in queues, mean", series(_seconds), "Queueing", log=True),
            Panel("% of the mean latency", series(queue_share), "Its share"),
            Panel("images per batch, mean", series(batch_size), "Batches"),
        ],
        caption="Grey: 34 to 91 % at 64 to 512, as in Beyond, Fig. 5. By Little's law the share follows from "
        "the concurrency that one chooses: latency is concurrency over throughput.",
    )
    highest = max((p["labels"]["concurrency"] for points in groups.values() for p in points), default=0)
    _mark(load.drawing.axes[0], highest)
    _mark(waiting.drawing.axes[1], highest, BEST_SHARES)
    return [load, waiting]


def _open_plot(groups: dict[tuple[str, str], list[Point]]) -> Figure:
    from beyond_serve.bench.runs.plots.curves import Panel, curves

    several = len(groups) > 1

    def panel(y_label: str, heading: str, *values: tuple[str, Value], log: bool = False) -> Panel:
        lines = [
            line
            for suffix, value in values
            for line in _series(groups, "load", value, several=several, suffix=suffix)
        ]
        return Panel(y_label, lines, heading, log)

    return curves(
        "sweep-open",
        "Random arrivals below the best throughput",
        "offered, % of the best closed-loop throughput",
        [
            panel(
                "latency from schedule, ms",
                "Mean and tail latency",
                ("mean", _latency("mean")),
                ("p99", _latency("p99")),
                log=True,
            ),
            panel("% of the mean latency", "Share of queueing", ("", queue_share)),
        ],
        log_x=False,
        caption="Poisson arrivals: unlike a closed loop they come whether or not the server keeps up.",
    )


def _series(
    groups: dict[tuple[str, str], list[Point]], label: str, value: Value, *, several: bool, suffix: str
) -> list[Series]:
    from beyond_serve.bench.runs.plots.curves import Series

    scale = 100.0 if label == "load" else 1.0
    return [
        Series(
            label=" ".join(
                part for part in (", ".join(name) if several or not suffix else "", suffix) if part
            ),
            x=[scale * point["labels"][label] for point in points],
            y=[value(point) for point in points],
            void=[bool(point["load"]["void"]) for point in points],
        )
        for name, points in groups.items()
    ]


def _seconds(point: Point) -> float | None:
    waited = queue_ms(point)
    return None if waited is None else waited / 1e3


def _mark(axes: Axes, highest: int, shares: tuple[float, float] | None = None) -> None:
    """Shade the paper's best range, without moving the axes' limits."""
    from beyond_serve.bench.runs.style import MUTED

    low, high = BEST_RANGE[0], min(BEST_RANGE[1], highest)
    if high <= low or not axes.lines:
        return
    limits = axes.get_xlim(), axes.get_ylim()
    if shares is None:
        axes.axvspan(low, high, color=MUTED, alpha=0.13, linewidth=0, zorder=0)
    else:
        axes.fill_between([low, high], *shares, color=MUTED, alpha=0.13, linewidth=0, zorder=0)
    axes.set_xlim(*limits[0])
    axes.set_ylim(*limits[1])
    axes.annotate(
        "paper's best" if shares is None else f"paper's {shares[0]:.0f} to {shares[1]:.0f} %",
        xy=((low * high) ** 0.5, 0.02 if shares is None else shares[0]),
        xycoords=axes.get_xaxis_transform() if shares is None else "data",
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=7,
        color=MUTED,
    )
