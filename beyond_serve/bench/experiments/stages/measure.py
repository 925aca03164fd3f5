"""Each model's parts alone, and the server end to end, on the same cores."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import orjson

from beyond_serve.batching import STAGES
from beyond_serve.bench.experiments.pace import Pace
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.experiments.serving import (
    Cores,
    ModelSource,
    Offer,
    Served,
    own_cores,
    room_for,
    serving,
)
from beyond_serve.bench.experiments.serving_arguments import (
    add_serving_arguments,
    asked_flags,
    asked_images,
    asked_models,
)
from beyond_serve.bench.experiments.stages.diagnosis import Evidence, allowed
from beyond_serve.bench.load.arrivals import ClosedLoop
from beyond_serve.bench.load.images import MixImage
from beyond_serve.bench.load.result import LoadResult
from beyond_serve.bench.parts import Parts, parts_from_json
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.errors import BeyondError, ConfigError

CONCURRENCY, HIGHEST = 64, 65536
# Throughput is asked: batches may wait to fill, since a cheap model in batches of one spends many times as
# much per image.
DELAY_US = 10_000
_PACE, _QUICK_PACE = Pace(2.0, 8.0, 5.0), Pace(0.5, 2.0, 4.0)
_PART_S, _QUICK_PART_S = 4.0, 1.0
_PART_TIMEOUT_S = 300.0
_ROUND_S, _QUICK_ROUND_S = 2.0, 1.0
_FEWEST = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_serving_arguments(parser)
    parser.add_argument(
        "--concurrency",
        type=int,
        metavar="N",
        help=f"requests in flight (default: {CONCURRENCY}, fewer of images that take long)",
    )


def run(given: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
    if given.concurrency is not None and not 1 <= given.concurrency <= HIGHEST:
        raise ConfigError(f"--concurrency is {given.concurrency}", f"give 1 to {HIGHEST}")
    models = asked_models(given)
    cores = own_cores()
    reporter.note(cores.sentence())
    reporter.note(
        f"{_said(given)} in flight, batches may wait {DELAY_US / 1e3:g} ms to fill; the parts alone run in a "
        "process of their own on the server's cores"
    )
    reporter.status("making the images")
    images = asked_images(given)
    largest = max(len(image.data) for image in images)
    flags = asked_flags(
        given, ("--max-delay-us", str(DELAY_US), *room_for(given.concurrency or CONCURRENCY, largest))
    )
    for model in models:
        parts = _parts(model, cores, flags, images, _QUICK_PART_S if given.quick else _PART_S, reporter)
        _keep_parts(run, model, cores, images, parts)
        with serving(model, cores, flags) as server:
            whole = _Whole(server, parts, given)
            whole.raw(run, reporter)
            for index, image in enumerate(images):
                whole.image(run, reporter, image, index)


def _said(given: argparse.Namespace) -> str:
    return str(given.concurrency) if given.concurrency else f"up to {CONCURRENCY}"


def _parts(
    model: ModelSource,
    cores: Cores,
    flags: Sequence[str],
    images: Sequence[MixImage],
    seconds: float,
    reporter: Reporter,
) -> Parts:
    """Measure the parts in a child on the server's cores.

    Raises:
        ConfigError: it failed; with what it said.
    """
    reporter.status(f"{model.name}: its parts alone")
    pinned = ["taskset", "-c", ",".join(map(str, cores.server))] if cores.apart else []
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for index, image in enumerate(images):
            file = Path(folder, str(index))
            file.write_bytes(image.data)
            files.append(str(file))
        asked = {
            "flags": ["--model", f"{model.name}={model.source}", *flags],
            "image_files": files,
            "seconds": seconds,
        }
        command = [*pinned, sys.executable, "-m", "beyond_serve.bench.parts"]
        try:
            done = subprocess.run(
                command, input=orjson.dumps(asked), capture_output=True, timeout=_PART_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise ConfigError(f"the parts of {model.name} took more than {_PART_TIMEOUT_S:g} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigError(
            f"the parts of {model.name} cannot be measured: {said[-1] if said else 'no reason'}"
        )
    return parts_from_json(done.stdout)


def _keep_parts(
    run: RunFolder, model: ModelSource, cores: Cores, images: Sequence[MixImage], parts: Parts
) -> None:
    common = {"simulated": parts.simulated, "cores": len(cores.server), "parts": _described(parts)}
    for image, rate in zip(images, parts.preprocess or (), strict=False):
        labels = {"model": model.name, "size": image.name, "stage": "preprocess"}
        run.add_point({"labels": labels, "images_per_s": rate.per_s, "cpu_s": rate.cpu_s, **common})
    if parts.infer is not None:
        labels = {"model": model.name, "stage": "inference, resident"}
        run.add_point(
            {"labels": labels, "images_per_s": parts.infer.per_s, "cpu_s": parts.infer.cpu_s, **common}
        )


def _described(parts: Parts) -> dict[str, object]:
    return {key: value for key, value in asdict(parts).items() if key not in ("preprocess", "infer")}


class _Whole:
    """One running server, offered tensors and then images."""

    def __init__(self, server: Served, parts: Parts, given: argparse.Namespace) -> None:
        self._server = server
        self._parts = parts
        self._given = given

    def raw(self, run: RunFolder, reporter: Reporter) -> None:
        """Inference from tensors that the client preprocessed; a model that takes none is told of."""
        rate = self._parts.infer.per_s if self._parts.infer is not None else 0.0
        try:
            self._offer(run, reporter, None, {"stage": "inference, raw"}, rate)
        except BeyondError as error:
            reporter.note(f"{self._server.model.name}: no inference from raw tensors: {error.message}")

    def image(self, run: RunFolder, reporter: Reporter, image: MixImage, index: int) -> None:
        parts = self._parts
        rate = 0.0
        if parts.preprocess is not None and parts.infer is not None:
            evidence = Evidence(
                0.0,
                CONCURRENCY,
                1,
                preprocess=parts.preprocess[index].per_s,
                resident=parts.infer.per_s,
                on_cpu=parts.on_cpu,
            )
            # Not all of it, for the front end takes its part too: the run should rather be too long.
            rate = 0.7 * (allowed(evidence) or 0.0)
        self._offer(run, reporter, image, {"size": image.name, "stage": "end to end"}, rate)

    def _offer(
        self,
        run: RunFolder,
        reporter: Reporter,
        image: MixImage | None,
        labels: dict[str, str],
        rate: float,
    ) -> None:
        labels = {"model": self._server.model.name, **labels}
        quick = self._given.quick
        round_s = _QUICK_ROUND_S if quick else _ROUND_S
        concurrency = self._given.concurrency or in_flight(CONCURRENCY, rate, round_s)
        warmup_s, measured_s = (_QUICK_PACE if quick else _PACE).lengths(concurrency, rate)
        offer = Offer(
            ClosedLoop(concurrency),
            image,
            measured_s,
            warmup_s,
            seed=self._given.seed,
            payload="tensor" if image is None else "image",
        )
        measured = self._server.offer(offer, reporter, ", ".join(labels.values()))
        result = measured.result
        run.add_point(
            measured.point(
                labels,
                images_per_s=result.throughput_per_s,
                concurrency=concurrency,
                cores=len(self._server.cores.server),
                busy=busy(result, self._parts.decode_threads, self._parts.instances),
                simulated=self._parts.simulated,
                parts=_described(self._parts),
            )
        )
        run.add_requests(
            "-".join(value.replace(", ", "-").replace(" ", "-") for value in labels.values()), result
        )


def in_flight(most: int, rate: float, round_s: float) -> int:
    """As many as are answered in `round_s` seconds at `rate`, between 16 and `most`: so that large images
    take minutes and not hours."""
    return min(most, max(_FEWEST, round(rate * round_s))) if rate > 0 else most


def busy(result: LoadResult, decode_threads: int, instances: int) -> dict[str, float]:
    """Share of the time in which a decoder, an instance, worked on requests that were answered.

    By the clock and not by CPU time: where threads are more than cores, a part that waits for a core
    counts as busy. {} without traces.
    """
    table = result.answered
    traced = table.where(~np.isnan(table.server_us))
    seconds = result.window.seconds
    if len(traced) == 0 or seconds <= 0:
        return {}
    stages = {name: traced.stages_us[:, index].astype(np.float64) for index, name in enumerate(STAGES)}
    decoding = (stages["decode"] + stages["transform"]).sum() / 1e6
    # All requests of a batch have its times: each carries its part.
    running = stages["copy_in"] + stages["infer"] + stages["copy_out"]
    inferring = (running / np.maximum(traced.batch_size, 1)).sum() / 1e6
    return {
        "decoders": float(decoding / seconds / decode_threads),
        "instances": float(inferring / seconds / instances),
    }
