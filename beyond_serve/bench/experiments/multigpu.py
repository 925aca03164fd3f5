"""`beyond-bench multigpu`: throughput over the number of devices on one host (Beyond 4.6, Fig. 9).

Without several GPUs the devices are emulated: each instance waits as long as a table says and uses no CPU,
while images are really decoded, by the one pool of decoders that all devices share.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from beyond_serve.bench.experiments.experiment import Experiment, PublishedFigure
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.experiments.serving import ModelSource, Offer, gpu_gap, own_cores, room_for, serving
from beyond_serve.bench.experiments.serving_arguments import asked_images
from beyond_serve.bench.load.arrivals import ClosedLoop
from beyond_serve.bench.load.images import MixImage
from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.folder import Point, RunFolder
from beyond_serve.bench.runs.tables import Table, number
from beyond_serve.engines.cores import available_cores

INFERENCE = "inference only"
_DEVICES, _QUICK_DEVICES = (1, 2, 4, 8), (1, 2, 4)
_MAX_BATCH = 32
_BYTES_IN_FLIGHT = 64 * 1024 * 1024
"""Of encoded images: an invented number."""


@dataclass(frozen=True, slots=True)
class Emulated:
    """One emulated device.

    Attributes:
        rate: images/s at the largest batch; an eighth of its time is the same for every batch.
    """

    rate: float

    def table(self, side: int) -> dict[str, object]:
        """A `sim:` table with square inputs of `side` pixels."""
        whole_ms = 1e3 * _MAX_BATCH / self.rate
        fixed_ms, each_ms = whole_ms / 8, whole_ms * 7 / 8 / _MAX_BATCH
        latency = {str(size): fixed_ms + each_ms * size for size in (1, _MAX_BATCH)}
        return {
            "name": f"{self.rate:g} images/s",
            "input": [side, side, 3],
            "classes": 10,
            "latency_ms": latency,
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate", type=float, default=200.0, help="images/s of one emulated device (default: 200)"
    )
    parser.add_argument(
        "--sizes", default="medium,large", metavar="LIST", help="images (default: medium,large)"
    )


def run(given: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
    reporter.note("simulated: devices are emulated, decoding is real")
    images = asked_images(given)
    with tempfile.TemporaryDirectory() as folder:
        for devices in _QUICK_DEVICES if given.quick else _DEVICES:
            for curve, image, source in _curves(images, Emulated(given.rate), Path(folder)):
                _measure(given, run, reporter, (curve, image, source), devices)


def _curves(
    images: Sequence[MixImage], device: Emulated, folder: Path
) -> Iterator[tuple[str, MixImage | None, Path]]:
    """Each curve's name, its image and its table. Small tensors stand for inference alone: what they weigh
    on the network is no part of the question."""
    for name, side, image in [
        *((f"{image.name}, CPU", 224, image) for image in images),
        (INFERENCE, 16, None),
    ]:
        path = folder / f"{side}.json"
        path.write_text(json.dumps(device.table(side)), encoding="utf-8")
        yield name, image, path


def _measure(
    given: argparse.Namespace,
    run: RunFolder,
    reporter: Reporter,
    what: tuple[str, MixImage | None, Path],
    devices: int,
) -> None:
    curve, image, table = what
    in_flight = concurrency(devices, 0 if image is None else len(image.data))
    flags = ("--instances", str(devices), "--max-batch", str(_MAX_BATCH), "--max-delay-us", "20000")
    room = room_for(in_flight, 0 if image is None else len(image.data))
    offer = Offer(
        arrivals=ClosedLoop(in_flight),
        image=image,
        duration_s=2.0 if given.quick else 10.0,
        warmup_s=1.0 if given.quick else 3.0,
        seed=given.seed,
        payload="tensor" if image is None else "image",
    )
    with serving(ModelSource("emulated", f"sim:{table}"), own_cores(), (*flags, *room)) as server:
        measured = server.offer(offer, reporter, f"{curve}, {devices} devices")
    run.add_point(measured.point({"curve": curve, "devices": devices}, simulated=True))
    measured.go_on()


def concurrency(devices: int, image_bytes: int) -> int:
    """Three batches for each device, as far as their images fit into `_BYTES_IN_FLIGHT`, but two for each
    decoder: sending more takes longer than it measures."""
    wanted = 3 * _MAX_BATCH * devices
    return min(wanted, max(2 * available_cores(), _BYTES_IN_FLIGHT // max(image_bytes, 1)))


def _by_curve(run: RunFolder) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for point in run.points:
        found.setdefault(point["labels"]["curve"], []).append(point)
    return found


def gains(points: Sequence[Point]) -> list[tuple[int, float, float]]:
    """(devices, images/s, times the first) of one curve."""
    first = points[0]["load"]["throughput_per_s"]
    return [
        (
            point["labels"]["devices"],
            point["load"]["throughput_per_s"],
            point["load"]["throughput_per_s"] / first if first else 0.0,
        )
        for point in points
    ]


def tables(run: RunFolder) -> Sequence[Table]:
    rows = [
        (curve, devices, rate, f"{gain:.2f}x", _cpu(point))
        for curve, points in _by_curve(run).items()
        for (devices, rate, gain), point in zip(gains(points), points, strict=True)
    ]
    columns = ("curve", "devices", "images/s", "gain", "server's cores busy")
    notes = ["simulated devices, real decoding; GPU preprocessing: beyond-bench simulate --figure 9"]
    return [Table("Throughput over devices", columns, rows, notes)] if rows else ()


def _cpu(point: Point) -> str:
    return f"{100 * point['server']['cpu']:.0f} %"


def plots(run: RunFolder) -> Sequence[Figure]:
    from beyond_serve.bench.runs.plots.curves import Panel, Series, curves

    series = [
        Series(
            curve,
            [point["labels"]["devices"] for point in points],
            [point["load"]["throughput_per_s"] for point in points],
            void=[bool(point["load"]["void"]) for point in points],
        )
        for curve, points in _by_curve(run).items()
    ]
    caption = (
        "Devices are emulated and take no CPU; images are decoded by one pool that all share. Beyond, Fig. 9."
    )
    title = "Throughput over the number of devices"
    panels = [Panel("images/s", series, log=True)]
    return [curves("multigpu", title, "devices", panels, caption=caption)]


def _gain_of(words: str) -> Callable[[RunFolder], object | None]:
    def ours(run: RunFolder) -> object | None:
        told = [
            f"{number(last[2])}x with {last[0]} ({curve}, simulated)"
            for curve, points in _by_curve(run).items()
            if words in curve and (last := gains(points)[-1])
        ]
        return ", ".join(told) or None

    return ours


_WHERE = "Beyond 4.6, Fig. 9"
EXPERIMENT = Experiment(
    name="multigpu",
    help="throughput over the number of devices, emulated where there are none (Beyond, Fig. 9)",
    add_arguments=add_arguments,
    run=run,
    tables=tables,
    plots=plots,
    published=(
        PublishedFigure("medium images", "linear, CPU and GPU preprocessing", _WHERE, _gain_of("medium")),
        PublishedFigure("large images, CPU preprocessing", "flat", _WHERE, _gain_of("large")),
        PublishedFigure("large images, GPU preprocessing", "good from 1 to 2, then marginal", _WHERE),
        PublishedFigure("inference only", "linear", _WHERE, _gain_of(INFERENCE)),
    ),
    cannot=lambda: (gpu_gap(), "several devices: there are none here, so each is emulated"),
)
