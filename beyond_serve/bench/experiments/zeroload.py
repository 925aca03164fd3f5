"""`beyond-bench zeroload`: one request at a time, where does its time go (Beyond 4.2, Fig. 6).

Overhead is what is neither decode, transform nor infer: receiving, crossing threads, batching, ranking,
replying.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from beyond_serve.batching import STAGES
from beyond_serve.bench.experiments.cpu_time import DISTURBED, disturbance
from beyond_serve.bench.experiments.experiment import Experiment, PublishedFigure
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.experiments.serving import (
    Measured,
    ModelSource,
    Offer,
    gpu_gap,
    own_cores,
    serving,
)
from beyond_serve.bench.experiments.serving_arguments import (
    add_serving_arguments,
    asked_flags,
    asked_images,
    asked_models,
)
from beyond_serve.bench.load.arrivals import ClosedLoop
from beyond_serve.bench.load.breakdown import PARTS
from beyond_serve.bench.load.images import MixImage
from beyond_serve.bench.load.table import RequestTable
from beyond_serve.bench.report import Verdict
from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.folder import Point, RunFolder
from beyond_serve.bench.runs.tables import Table, number

ASKED_OVERHEAD_US = 600.0
_WORK = ("decode", "transform", "infer")
_PREPROCESS = ("decode", "transform")
_REQUESTS, _QUICK_REQUESTS = 300, 60
_WARMUP_S, _QUICK_WARMUP_S = 1.0, 0.5
# A large image takes a hundred times as long as a small one: time ends what the count would draw out.
_LONGEST_S, _QUICK_LONGEST_S = 30.0, 6.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_serving_arguments(parser)
    parser.add_argument(
        "--requests",
        type=int,
        metavar="N",
        help=f"of each size (default: {_REQUESTS}; --quick {_QUICK_REQUESTS})",
    )
    parser.add_argument("--fidelity", choices=("exact", "fast"), default="exact", help="of preprocessing")


def run(given: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
    models = asked_models(given)
    flags = asked_flags(given, ("--fidelity", given.fidelity))
    cores = own_cores()
    reporter.note(cores.sentence())
    reporter.status("making the images")
    images = asked_images(given)
    for model in models:
        with serving(model, cores, flags) as server:
            for image in images:
                measured = server.offer(_offer(given, image), reporter, f"{model.name}, {image.name}")
                labels = {"model": model.name, "size": image.name, "preprocess": "cpu"}
                run.add_point(point(labels, measured, model, len(image.data)))
                run.add_requests(f"{model.name}-{image.name}", measured.result)
                measured.go_on()


def _offer(given: argparse.Namespace, image: MixImage) -> Offer:
    count = given.requests
    if count is None:
        count = _QUICK_REQUESTS if given.quick else _REQUESTS
    return Offer(
        arrivals=ClosedLoop(1),
        image=image,
        count=count,
        duration_s=_QUICK_LONGEST_S if given.quick else _LONGEST_S,
        warmup_s=_QUICK_WARMUP_S if given.quick else _WARMUP_S,
        seed=given.seed,
    )


def point(
    labels: Mapping[str, str], measured: Measured, model: ModelSource, image_bytes: int
) -> dict[str, object]:
    """The load's point, and medians over requests, which one slow request does not move."""
    return measured.point(
        labels,
        medians_us=medians_us(measured.result.answered),
        image_bytes=image_bytes,
        simulated=model.simulated,
    )


def medians_us(answered: RequestTable) -> dict[str, float]:
    """Microseconds: each stage, the server's total, the overhead and the preprocessing; {} without traces."""
    traced = answered.where(~np.isnan(answered.server_us))
    if len(traced) == 0:
        return {}
    columns = {stage: traced.stages_us[:, index].astype(np.float64) for index, stage in enumerate(STAGES)}
    total = traced.server_us.astype(np.float64)
    columns["total"] = total
    columns["overhead"] = total - sum(columns[stage] for stage in _WORK)
    columns["preprocess"] = columns["decode"] + columns["transform"]
    columns["preprocess_share"] = columns["preprocess"] / total
    columns["client"] = traced.latency_from_send_ns / 1e3
    return {name: float(np.median(values)) for name, values in columns.items()}


def tables(run: RunFolder) -> Sequence[Table]:
    points = [found for found in run.points if found.get("medians_us")]
    if not points:
        return ()
    rows: list[Sequence[object]] = [
        (name, *(found["medians_us"][name] / 1e3 for found in points)) for name in STAGES
    ]
    for name, key in (
        ("server's total", "total"),
        ("total less decode, transform, infer", "overhead"),
        ("seen by the client", "client"),
    ):
        rows.append((name, *(found["medians_us"][key] / 1e3 for found in points)))
    rows.append(
        (
            "decode and transform, share of total",
            *(f"{100 * found['medians_us']['preprocess_share']:.0f} %" for found in points),
        )
    )
    rows.append(("image, kB", *(found["image_bytes"] / 1e3 for found in points)))
    rows.append(("requests", *(found["load"]["requests"] for found in points)))
    notes = ["medians of each line by itself, so that a column does not add up exactly", *_remarks(points)]
    return [Table("One request at a time, ms", ("", *map(_label, points)), rows, notes)]


def plots(run: RunFolder) -> Sequence[Figure]:
    from beyond_serve.bench.runs.plots.stages import StageBar, stage_bars

    bars = [
        StageBar(_label(found), bar_parts(typical(stages)), bool(found["load"]["void"]))
        for found in run.points
        if (stages := found["load"]["stages_ms"])
    ]
    caption = (
        "Means over the requests around the median (ranked 45 to 55 % by latency), one in flight; network is "
        "what the client waits beyond the server's own total. Beyond, Fig. 6 shows the same for ViT-Base on "
        "an RTX 4090."
    )
    return [stage_bars("zeroload", "Where one request's time goes at zero load", bars, caption=caption)]


def typical(stages_ms: Mapping[str, Mapping[str, float]]) -> Mapping[str, float]:
    """The parts of the requests around the median, which what else the machine does hardly moves; the mean's
    where there are too few requests."""
    return stages_ms.get("p50", stages_ms["mean"])


def bar_parts(mean_ms: Mapping[str, float]) -> dict[str, float]:
    """A summary's stages as a bar has them: "late" and "residual" are nobody's work."""
    shown = {part: mean_ms[part] for part in PARTS if part in mean_ms and part not in ("late", "residual")}
    return {**shown, "other": mean_ms.get("late", 0.0) + mean_ms.get("residual", 0.0)}


def verdicts(run: RunFolder) -> Sequence[Verdict]:
    """The server's own share of a medium image: asked of the first model alone, whose bound it is."""
    found = _find(run, "medium")
    if found is None:
        return ()
    overhead = found["medians_us"]["overhead"]
    void, others = bool(found["load"]["void"]), float(found["server"].get("others_cpu") or 0.0)
    why = ", in a void run" if void else ""
    if others > DISTURBED:
        why += f", while other programs took {100 * others:.0f} % of the server's cores"
    return [
        Verdict(
            f"{_label(found)}: total less decode, transform and infer",
            f"<= {ASKED_OVERHEAD_US / 1e3:g} ms",
            f"{number(overhead / 1e3)} ms{why}",
            overhead <= ASKED_OVERHEAD_US and not void,
        )
    ]


def _share(size: str) -> Any:
    def ours(run: RunFolder) -> object | None:
        shares = [
            f"{100 * found['medians_us']['preprocess_share']:.0f} % ({_model(found)})"
            for found in run.points
            if found["labels"].get("size") == size and found.get("medians_us")
        ]
        return ", ".join(shares) or None

    return ours


def _find(run: RunFolder, size: str) -> Point | None:
    for found in run.points:
        if found["labels"].get("size") == size and found.get("medians_us"):
            return found
    return None


def _label(found: Point) -> str:
    labels = found["labels"]
    return f"{labels['model']}, {labels['size']}"


def _model(found: Point) -> str:
    return f"{found['labels']['model']}{', void' if found['load']['void'] else ''}"


def _remarks(points: Sequence[Point]) -> list[str]:
    void = [f"VOID, {_label(found)}: {reason}" for found in points for reason in found["load"]["void"]]
    return [*disturbance(points), *void]


_HARDWARE = "i9-13900K and one RTX 4090, ViT-Base"
EXPERIMENT = Experiment(
    name="zeroload",
    help="where one request's time goes, by image size (Beyond, Fig. 6)",
    add_arguments=add_arguments,
    run=run,
    tables=tables,
    plots=plots,
    verdicts=verdicts,
    published=(
        PublishedFigure(
            "preprocessing's share of a medium image's time, on the CPU",
            "56 %",
            "Beyond 4.2, Fig. 6",
            _share("medium"),
            _HARDWARE,
        ),
        PublishedFigure(
            "preprocessing's share of a large image's time, on the CPU",
            "97 %",
            "Beyond 4.2, Fig. 6",
            _share("large"),
            _HARDWARE,
        ),
        PublishedFigure(
            "the same on the GPU, medium and large", "49 % and 88 %", "Beyond 4.2, Fig. 6", hardware=_HARDWARE
        ),
    ),
    cannot=lambda: (gpu_gap(),),
)
