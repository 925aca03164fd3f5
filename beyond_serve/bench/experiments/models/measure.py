"""Many models, each served alone: the DNN's share of one request's time, and the best throughput."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import orjson

from beyond_serve.batching import STAGES
from beyond_serve.bench.experiments.models.source import named_or_made
from beyond_serve.bench.experiments.pace import Pace
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.experiments.serving import ModelSource, Offer, Served, own_cores, room_for, serving
from beyond_serve.bench.experiments.serving_arguments import SIZES, asked_flags, asked_images
from beyond_serve.bench.load.arrivals import ClosedLoop
from beyond_serve.bench.load.images import MixImage
from beyond_serve.bench.load.table import RequestTable
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.demo.location import demo_model
from beyond_serve.engines.onnx_file import load_proto
from beyond_serve.errors import BeyondError, ConfigError
from beyond_serve.zoo.cost import Cost, count

MODELS = ("demo", "cnn-8", "cnn-16", "cnn-32", "cnn-64", "cnn-96", "mixer-128", "mixer-256", "mixer-512")
QUICK_MODELS = ("demo", "cnn-8", "cnn-16", "mixer-128", "cnn-32")
CONCURRENCY = 32
_DNN = ("copy_in", "infer", "copy_out")
_PREPROCESS = ("decode", "transform")
_REQUESTS, _QUICK_REQUESTS = 200, 40
_LONGEST_S, _QUICK_LONGEST_S = 8.0, 2.0
_WARMUP_S, _QUICK_WARMUP_S = 0.5, 0.2
_PACE, _QUICK_PACE = Pace(1.0, 5.0, 6.0), Pace(0.3, 1.5, 3.0)
_FEWEST = 4
_EXPORT_TIMEOUT_S = 1800


@dataclass(frozen=True, slots=True)
class Costed:
    """A model with what one image costs it; None where its file does not tell (OpenVINO IR, `sim:`)."""

    model: ModelSource
    cost: Cost | None
    made: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="MODEL",
        help="ONNX files, demo, sim:table.json, also as NAME=MODEL; or networks that are made here, with "
        f"random weights (default: {' '.join(MODELS)})",
    )
    parser.add_argument(
        "--export",
        nargs="+",
        default=[],
        metavar="ARCH",
        help="architectures to export with random weights and add (beyond-models export; needs torch)",
    )
    parser.add_argument("--sizes", default="medium", metavar="LIST", help=f"of {SIZES} (default: medium)")
    parser.add_argument(
        "--concurrency",
        type=int,
        default=CONCURRENCY,
        metavar="N",
        help=f"requests in flight for the throughput, fewer for slow models (default: {CONCURRENCY})",
    )
    parser.add_argument(
        "--flags", default="", metavar="'--FLAG VALUE …'", help="further flags of beyond-serve"
    )


def run(given: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
    reporter.note(own_cores().sentence())
    images, flags = asked_images(given), asked_flags(given)
    # Exported models alone, where only they were asked for.
    default = () if given.export else (QUICK_MODELS if given.quick else MODELS)
    with tempfile.TemporaryDirectory() as folder:
        reporter.status("writing the models")
        models = [costed(text, Path(folder), given.seed) for text in given.models or default]
        models += [
            costed(str(path), Path(folder), given.seed) for path in _exports(given, Path(folder), reporter)
        ]
        if any(found.made for found in models):
            made = ", ".join(found.model.name for found in models if found.made)
            reporter.note(f"made here, with random weights, no published architectures: {made}")
        for found in models:
            try:
                _measure(given, found, images, flags, run, reporter)
            except BeyondError as error:
                reporter.note(f"{found.model.name} left out: {error.message}")
    if not run.points:
        raise ConfigError("no model could be measured", "the notes say why")


def costed(text: str, folder: Path, seed: int) -> Costed:
    """Raises:
    ConfigError: no such model.
    """
    model = named_or_made(text, folder, seed)
    path = demo_model() if model.source == "demo" else Path(model.source)
    made = path.parent == folder and path.stem == text
    if path.suffix != ".onnx":
        return Costed(model, None, made)
    try:
        cost = count(load_proto(path), (224, 224))
    except BeyondError:
        # A graph that branches can be served all the same; what cannot be served is told when it is tried.
        cost = None
    return Costed(model, cost, made)


def _exports(given: argparse.Namespace, folder: Path, reporter: Reporter) -> list[Path]:
    """The architectures of `--export` as files; those that fail are noted."""
    if given.export and importlib.util.find_spec("torch") is None:
        raise ConfigError(
            "--export needs torch, which is not installed", "pip install 'beyond-serve[export]'"
        )
    files = []
    for name in given.export:
        reporter.status(f"exporting {name}")
        path = folder / f"{name.replace(':', '-').replace('/', '-')}.onnx"
        command = [sys.executable, "-m", "beyond_serve.server.models_command", "export", name]
        done = subprocess.run(
            [*command, "--weights", "random", "-o", str(path)],
            capture_output=True,
            text=True,
            timeout=_EXPORT_TIMEOUT_S,
            check=False,
        )
        if done.returncode == 0:
            files.append(path)
        else:
            said = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
            reporter.note(f"{name} left out: {said[0]}")
    return files


def _measure(
    given: argparse.Namespace,
    found: Costed,
    images: Sequence[MixImage],
    flags: tuple[str, ...],
    run: RunFolder,
    reporter: Reporter,
) -> None:
    """One model, served alone: each image one at a time, then many."""
    largest = max(len(image.data) for image in images)
    fields: dict[str, object] = {"cost": _described(found), "simulated": found.model.simulated}
    with serving(found.model, own_cores(), (*room_for(given.concurrency, largest), *flags)) as server:
        fields["precision"] = _precision(server)
        for image in images:
            labels = {"model": found.model.name, "size": image.name, "preprocess": "cpu"}
            what = f"{found.model.name}, {image.name}"
            alone = server.offer(_one_at_a_time(given, image), reporter, f"{what}: one at a time")
            medians = parts_us(alone.result.answered)
            run.add_point(alone.point({**labels, "load": "one"}, parts_us=medians, **fields))
            run.add_requests(f"{found.model.name}-{image.name}-one", alone.result)
            alone.go_on()
            in_flight = bounded(given.concurrency, alone.result.throughput_per_s)
            pace = _QUICK_PACE if given.quick else _PACE
            warmup_s, measured_s = pace.lengths(in_flight, alone.result.throughput_per_s)
            offer = Offer(ClosedLoop(in_flight), image, measured_s, warmup_s, seed=given.seed)
            busy = server.offer(offer, reporter, f"{what}: {in_flight} in flight")
            run.add_point(busy.point({**labels, "load": "many"}, in_flight=in_flight, **fields))
            run.add_requests(f"{found.model.name}-{image.name}-many", busy.result)
            busy.go_on()


def _precision(server: Served) -> str | None:
    """The one that the server chose: bfloat16 is given up where the model's answers would change."""
    url = f"{server.process.url}/v2/models/{quote(server.model.name, safe='')}/config"
    with urllib.request.urlopen(url, timeout=10) as reply:  # noqa: S310 - a loopback URL of our own
        parameters = orjson.loads(reply.read()).get("parameters", {})
    found = parameters.get("precision", {}).get("string_value")
    return None if found is None else str(found)


def _one_at_a_time(given: argparse.Namespace, image: MixImage) -> Offer:
    return Offer(
        ClosedLoop(1),
        image,
        _QUICK_LONGEST_S if given.quick else _LONGEST_S,
        _QUICK_WARMUP_S if given.quick else _WARMUP_S,
        count=_QUICK_REQUESTS if given.quick else _REQUESTS,
        seed=given.seed,
    )


def bounded(concurrency: int, rate: float) -> int:
    """Fewer in flight where each request would wait more than a second for them; a few at least."""
    return max(min(concurrency, _FEWEST), min(concurrency, round(rate)))


def parts_us(answered: RequestTable) -> dict[str, float]:
    """Medians over the requests, microseconds: `dnn` (copies and inference), `preprocess` (decode and
    transform), `other`, the server's `total`, and `dnn_share`; {} without traces."""
    traced = answered.where(~np.isnan(answered.server_us))
    if len(traced) == 0:
        return {}
    columns = {stage: traced.stages_us[:, place].astype(np.float64) for place, stage in enumerate(STAGES)}
    total = traced.server_us.astype(np.float64)
    dnn = sum((columns[stage] for stage in _DNN), np.zeros(len(traced)))
    preprocess = sum((columns[stage] for stage in _PREPROCESS), np.zeros(len(traced)))
    values = {
        "dnn": dnn,
        "preprocess": preprocess,
        "other": total - dnn - preprocess,
        "total": total,
        "dnn_share": dnn / total,
    }
    return {name: float(np.median(column)) for name, column in values.items()}


def _described(found: Costed) -> dict[str, object] | None:
    if found.cost is None:
        return None
    return {
        "gmacs": found.cost.gmacs,
        "gflops": found.cost.gflops,
        "weights": found.cost.weights,
        "made": found.made,
    }
