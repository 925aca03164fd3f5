"""Networks over batch sizes, and the steps of preprocessing, one after the other."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.bench.experiments.frameworks.networks import Network, answers_differ, networks
from beyond_serve.bench.experiments.local_model import RESNET50, LocalModel, infer, local_model
from beyond_serve.bench.experiments.pipelines import (
    Task,
    pillow_decode,
    pillow_resize,
    torch_normalise,
)
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.experiments.rounds import Case, Length, Work, interleaved
from beyond_serve.bench.experiments.serving_arguments import asked_images
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.engines.cores import available_cores
from beyond_serve.engines.precision import probe_images
from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.decoding import decode

BATCHES, QUICK_BATCHES = "1,4,16,64,256", "1,8,64"
BREAKDOWN_BATCH = 64
DECODE, RESIZE, NORMALISE, ALL, NETWORK = "decode", "+ resize", "+ normalise", "all", "network alone"
THEIRS, OURS = "PyTorch-style (Pillow + NumPy)", "ours"
_LENGTH, _QUICK_LENGTH = Length(15, 0.4), Length(9, 0.1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default="demo",
        metavar="FILE",
        help=f"ONNX, demo or {RESNET50} (random weights) (default: demo)",
    )
    parser.add_argument("--torch", metavar="FILE", help="the same model as .pt2 or TorchScript, for PyTorch")
    parser.add_argument(
        "--batches", metavar="LIST", help=f"batch sizes (default: {BATCHES}; --quick {QUICK_BATCHES})"
    )
    parser.add_argument(
        "--sizes", default="medium", metavar="LIST", help="one image: a size or a file (default: medium)"
    )


def run(given: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
    batches = asked_batches(given.batches or (QUICK_BATCHES if given.quick else BATCHES))
    image, *more = asked_images(given)
    if more:
        raise ConfigError("frameworks takes one image", "as in --sizes medium")
    length = _QUICK_LENGTH if given.quick else _LENGTH
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        model = local_model(given.model, Path(folder))
        if given.model == RESNET50:
            reporter.note("resnet50 has random weights: its size, not its sight")
        found, told = networks(model, given.torch, stack)
        for line in [*told, *answers_differ(found, probe_rows(model))]:
            reporter.note(line)
        _measure_networks(run, reporter, model, found, batches, length)
        _measure_breakdown(run, reporter, model, Task.of(image.data, model.plan), length)


def asked_batches(text: str) -> list[int]:
    """Raises:
    ConfigError: no list of batch sizes.
    """
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = [0]
    if not 1 <= found[0] <= found[-1] <= 4096:
        raise ConfigError(f"--batches {text} is no list of batch sizes", "as in --batches 1,8,64")
    return found


def probe_rows(model: LocalModel) -> NDArray[np.float32]:
    """Seeded images as the model's own tensor: they are no noise, on which any two precisions differ."""
    norm = model.plan.normalization
    pixels = probe_images(model.plan.output_shape).astype(np.float32) * np.float32(norm.scale)
    rows = (pixels - np.asarray(norm.mean, np.float32)) / np.asarray(norm.std, np.float32)
    return np.ascontiguousarray(rows.transpose(0, 3, 1, 2), np.float32)


def _rows_of(model: LocalModel, batch: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, *model.tensor_shape), dtype=np.float32)


def _measure_networks(
    run: RunFolder,
    reporter: Reporter,
    model: LocalModel,
    found: Sequence[Network],
    batches: Sequence[int],
    length: Length,
) -> None:
    for batch in batches:
        rows = _rows_of(model, batch)
        cases = [Case(network.name, [_counted(network.run, rows)]) for network in found]
        for name, rounds in interleaved(cases, length, reporter, f"batches of {batch}").items():
            labels = {"part": "network", "what": name, "batch": batch}
            run.add_point({"labels": labels, **rounds.point(), "model": model.name})


def _counted(call: Callable[[Any], object], rows: NDArray[Any]) -> Work:
    def work() -> int:
        call(rows)
        return len(rows)

    return work


def _measure_breakdown(
    run: RunFolder,
    reporter: Reporter,
    model: LocalModel,
    task: Task,
    length: Length,
) -> None:
    """Fig. 1: preprocessing on all cores, step after step, against the network in our default engine."""
    threads = available_cores()
    splits = [Split() for _ in range(threads)]
    steps = {
        step: [_their_step(task, step) for _ in range(threads)] for step in (DECODE, RESIZE, NORMALISE, ALL)
    }
    with contextlib.closing(model.load()) as engine, contextlib.closing(engine.create_context()) as context:
        pixels = np.zeros((BREAKDOWN_BATCH, *model.plan.output_shape), np.uint8)
        floats = _rows_of(model, BREAKDOWN_BATCH)
        cases = {
            **{(THEIRS, step): Case(f"{THEIRS}: {step}", workers) for step, workers in steps.items()},
            (OURS, ALL): Case(f"{OURS}: {ALL}", [_our_work(task, split) for split in splits]),
            (THEIRS, NETWORK): Case(
                f"{NETWORK}, float32", [_counted(lambda rows: infer(context, rows), floats)]
            ),
            (OURS, NETWORK): Case(
                f"{NETWORK}, normalising", [_counted(lambda rows: infer(context, rows), pixels)]
            ),
        }
        rounds = interleaved([*cases.values()], length, reporter, "the steps of preprocessing")
    told = {
        "model": model.name,
        "threads": threads,
        "batch": BREAKDOWN_BATCH,
        "engine": f"{engine.info.engine} {engine.info.precision}",
    }
    for (what, step), case in cases.items():
        labels = {"part": "breakdown", "what": what, "step": step}
        extra = {"decode_share": decode_share(splits)} if (what, step) == (OURS, ALL) else {}
        run.add_point({"labels": labels, **rounds[case.name].point(), **told, **extra})


class Split:
    """How our one call divides into decoding and resizing, by its own clock; one for each thread."""

    def __init__(self) -> None:
        self.decode_ns = 0
        self.transform_ns = 0


def decode_share(splits: Sequence[Split]) -> float:
    decode_ns = sum(split.decode_ns for split in splits)
    total = decode_ns + sum(split.transform_ns for split in splits)
    return decode_ns / total if total else 0.0


def _our_work(task: Task, split: Split) -> Work:
    """Decode and resize into the batch's row; normalising is the graph's."""
    row = np.zeros(task.plan.output_shape, np.uint8)

    def work() -> int:
        made = decode(task.data, task.plan, row)
        split.decode_ns += made.decode_ns
        split.transform_ns += made.transform_ns
        return 1

    return work


def _their_step(task: Task, last: str) -> Work:
    """Everything up to and with the step `last`; "all" also collates into the batch."""
    height, width, channels = task.plan.output_shape
    row = np.zeros((channels, height, width), np.float32)

    def work() -> int:
        image = pillow_decode(task)
        if last == DECODE:
            return 1
        image = pillow_resize(task, image)
        if last == RESIZE:
            return 1
        made = torch_normalise(task, image)
        if last == ALL:
            row[...] = made
        return 1

    return work
