"""`beyond-bench energy`: joules per image (Beyond 4.5, Fig. 8).

counters   what can be read on this machine
window     from readings to joules per image
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

from beyond_serve.bench.experiments.energy.counters import EnergyCounter, energy_counters
from beyond_serve.bench.experiments.energy.window import EnergyWindow, Used, per_image
from beyond_serve.bench.experiments.experiment import Experiment, PublishedFigure
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.experiments.serving import Measured, Offer, Served, gpu_gap, own_cores, serving
from beyond_serve.bench.experiments.serving_arguments import (
    add_serving_arguments,
    asked_flags,
    asked_images,
    asked_models,
)
from beyond_serve.bench.load.arrivals import ClosedLoop
from beyond_serve.bench.load.images import MixImage
from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.runs.tables import Table
from beyond_serve.errors import ConfigError

# Counters step every 20 to 100 ms and sensors sample a part of the time (arXiv 2312.02741).
LEAST_WINDOW_S = 30.0
_QUICK_WINDOW_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_serving_arguments(parser, sizes="medium,large")
    parser.add_argument("--concurrency", type=int, default=64, help="requests in flight (default: 64)")
    parser.add_argument(
        "--window",
        type=float,
        default=LEAST_WINDOW_S,
        metavar="S",
        help=f"of each measurement (default: {LEAST_WINDOW_S:g}; in shorter ones the counters' steps show)",
    )


def run(given: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
    measure_all(given, run, reporter, energy_counters(), time.monotonic, time.sleep)


def measure_all(
    given: argparse.Namespace,
    run: RunFolder,
    reporter: Reporter,
    counters: Sequence[EnergyCounter],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    """Measure each model and size.

    Raises:
        ConfigError: there is no counter; before anything is started.
    """
    if not counters:
        raise ConfigError(
            "no energy counter can be read: neither RAPL (/sys/class/powercap) nor NVML",
            "run it on the host itself, as root; virtual machines rarely have them",
        )
    window_s = _QUICK_WINDOW_S if given.quick else given.window
    if window_s < LEAST_WINDOW_S:
        reporter.note(f"windows of {window_s:g} s: below {LEAST_WINDOW_S:g} s the counters' steps show")
    reporter.note("counters: " + ", ".join(counter.name for counter in counters))
    images, cores = asked_images(given), own_cores()
    for model in asked_models(given):
        with serving(model, cores, asked_flags(given)) as server:
            reporter.status(f"{model.name}, idle")
            idle_window = EnergyWindow(counters, clock)
            sleep(window_s)
            idle = idle_window.close()
            for image in images:
                reporter.status(f"{model.name}, {image.name}")
                used, measured = _loaded(server, image, given, window_s, counters, clock, reporter)
                labels = {"model": model.name, "size": image.name, "preprocess": "cpu"}
                run.add_point(_point(labels, measured, used, idle))
                measured.go_on()


def _loaded(
    server: Served,
    image: MixImage,
    given: argparse.Namespace,
    window_s: float,
    counters: Sequence[EnergyCounter],
    clock: Callable[[], float],
    reporter: Reporter,
) -> tuple[Used, Measured]:
    offer = Offer(ClosedLoop(given.concurrency), image, window_s, warmup_s=0.0, seed=given.seed)
    window = EnergyWindow(counters, clock)
    measured = server.offer(offer, reporter, f"{server.model.name}, {image.name}")
    return window.close(), measured


def _point(labels: dict[str, str], measured: Measured, used: Used, idle: Used) -> dict[str, object]:
    each = per_image(used, idle, measured.counters.images)
    return measured.point(
        labels,
        joules_per_image=each,
        watts={kind: used.watts(kind) for kind in used.joules},
        idle_watts={kind: idle.watts(kind) for kind in idle.joules},
        window_s=used.seconds,
    )


def tables(run: RunFolder) -> Sequence[Table]:
    rows = [
        (
            point["labels"]["model"],
            point["labels"]["size"],
            kind.upper(),
            1000 * joules,
            point["watts"][kind],
            point["idle_watts"][kind],
            point["load"]["throughput_per_s"],
        )
        for point in run.points
        for kind, joules in point["joules_per_image"].items()
    ]
    columns = ("model", "image", "device", "mJ per image", "W", "idle W", "images/s")
    return [Table("Energy", columns, rows, ["idle is subtracted"])] if rows else ()


def plots(run: RunFolder) -> Sequence[Figure]:
    from beyond_serve.bench.runs.plots.bars import BarSeries, grouped_bars

    points = [point for point in run.points if point["joules_per_image"]]
    kinds = sorted({kind for point in points for kind in point["joules_per_image"]})
    series = [
        BarSeries(kind.upper(), [1000 * point["joules_per_image"][kind] for point in points])
        for kind in kinds
    ]
    groups = [f"{point['labels']['model']}, {point['labels']['size']}" for point in points]
    caption = "Energy beyond the idle machine's, over the images answered. Beyond, Fig. 8 shows the same."
    return [grouped_bars("energy", "Energy per image", groups, series, "mJ per image", caption=caption)]


_WHERE, _HARDWARE = "Beyond 4.5, Fig. 8", "i9-13900K and one RTX 4090"
EXPERIMENT = Experiment(
    name="energy",
    help="joules per image, idle subtracted (Beyond, Fig. 8)",
    add_arguments=add_arguments,
    run=run,
    tables=tables,
    plots=plots,
    published=(
        PublishedFigure(
            "energy with CPU beside GPU preprocessing", "more, for every model", _WHERE, hardware=_HARDWARE
        ),
        PublishedFigure(
            "the CPU's energy from medium to large images", "rises, for both", _WHERE, hardware=_HARDWARE
        ),
    ),
    cannot=lambda: (
        gpu_gap(),
        *(() if energy_counters() else ("energy: no counter of the CPU or a GPU can be read",)),
    ),
)
