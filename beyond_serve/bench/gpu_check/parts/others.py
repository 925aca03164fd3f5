"""ViT-Base on the other engines, where they are installed: TensorRT, ONNX Runtime's CUDA provider."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from beyond_serve.bench.gpu_check.build_child import NORMALIZATION
from beyond_serve.bench.gpu_check.closed_loop import ClosedLoop, filled_arena, run_loop
from beyond_serve.bench.gpu_check.engine_check import EngineCheck, Scores
from beyond_serve.bench.gpu_check.figures import Check, below, holds
from beyond_serve.bench.gpu_check.findings import Recorder
from beyond_serve.bench.gpu_check.networks import IMAGE_SIZE, LIMITS, NETWORKS, SMALLEST, make_module
from beyond_serve.bench.gpu_check.part import ONNXRUNTIME_CUDA, TENSORRT, has_module
from beyond_serve.bench.gpu_check.site import NotHere, Site
from beyond_serve.bench.gpu_check.tiny import TorchReference
from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.load import load_engine
from beyond_serve.errors import BeyondError

BATCH = 64
SIZES = (1, 7, 32)
_FP32_LIMIT = 1e-3
COLUMNS = ("engine", "model", "through the batcher img/s", "mean batch", "largest relative error")


@dataclass(frozen=True, slots=True)
class Candidate:
    """config: makes the engine's configuration of the ONNX file; may build a file first. limit: of
    `row_errors`."""

    name: str
    config: Callable[[Path], EngineConfig]
    limit: float


def run(site: Site, record: Recorder) -> None:
    found = candidates(site, record)
    if not found:
        raise NotHere("neither TensorRT nor ONNX Runtime's CUDA provider is installed")
    source = SMALLEST if site.quick else NETWORKS[0]
    module, _ = make_module(source)
    onnx = export(module, site.work / "network.onnx")
    rows = []
    for candidate in found:
        try:
            row, check = measure(candidate, onnx, TorchReference(module, NORMALIZATION), 1.0)
        except BeyondError as error:
            said = f"{error.message}{'; ' + error.hint if error.hint else ''}"
            record.check(holds(f"{candidate.name}: {source.name} runs", "yes", said))
            continue
        record.check(check)
        rows.append((candidate.name, source.name, *row))
    record.table("Other engines", COLUMNS, rows, [f"closed loop, one instance, batches of {BATCH}"])


def candidates(site: Site, record: Recorder) -> list[Candidate]:
    """Those that are installed; the others are recorded as skipped."""
    device = f"cuda:{site.device}"

    def with_onnxruntime(onnx: Path) -> EngineConfig:
        return config_of(onnx, "onnxruntime", device, "fp32")

    def with_tensorrt(onnx: Path) -> EngineConfig:
        return config_of(build_plan_of(onnx), "tensorrt", device, "auto")

    known = (
        (ONNXRUNTIME_CUDA, Candidate("ONNX Runtime fp32", with_onnxruntime, _FP32_LIMIT)),
        (TENSORRT, Candidate("TensorRT fp16", with_tensorrt, LIMITS["fp16"])),
    )
    found = []
    for option, candidate in known:
        if any(map(has_module, option.modules)):
            found.append(candidate)
        else:
            record.skip(option.what, f"not installed: {' or '.join(option.modules)}")
    return found


def config_of(path: Path, engine: str, device: str, precision: str) -> EngineConfig:
    return EngineConfig(
        str(path),
        engine=engine,
        device=device,
        precision=precision,
        max_batch=BATCH,
        image_size=(IMAGE_SIZE, IMAGE_SIZE),
        normalization=NORMALIZATION,
    )


def build_plan_of(onnx: Path) -> Path:
    """A plan with normalisation inside, built once. Raises ModelLoadError without a builder."""
    from beyond_serve.engines.tensorrt.build import PlanRequest, build_plan

    plan = onnx.with_suffix(".plan")
    if plan.exists():
        return plan
    size = (IMAGE_SIZE, IMAGE_SIZE)
    request = PlanRequest(plan, "fp16", BATCH, image_size=size, normalization=NORMALIZATION)
    build_plan(describe_model(str(onnx)), request, lambda *step: None)
    return plan


def export(module: object, path: Path) -> Path:
    """Raises ModelLoadError if torch cannot export it or a package for that is missing."""
    from beyond_serve.zoo.onnx_graph import DEFAULT_OPSET, to_onnx, write

    write(to_onnx(module, IMAGE_SIZE, DEFAULT_OPSET), path, {})
    return path


def measure(
    candidate: Candidate, onnx: Path, reference: Scores, seconds: float, sizes: tuple[int, ...] = SIZES
) -> tuple[tuple[object, ...], Check]:
    """(img/s, mean batch, error), and the verdict on the error.

    Raises:
        BeyondError: the engine cannot be built, loaded or run.
    """
    rng = np.random.default_rng()
    with_slots = load_engine(candidate.config(onnx))
    try:
        check = EngineCheck(candidate.name, with_slots, reference, candidate.limit, rng)
        error = float(np.max(check.image_errors(sizes)))
    finally:
        with_slots.close()
    rate, batch = run_loop(_rate(candidate, onnx, seconds))
    what = f"{candidate.name}: relative error beside float32 on the CPU, every row"
    return (rate, batch, error), below(what, candidate.limit, error)


async def _rate(candidate: Candidate, onnx: Path, seconds: float) -> tuple[float, float]:
    engine = load_engine(candidate.config(onnx))
    try:
        arena = filled_arena(engine, 2 * BATCH, np.random.default_rng())
        async with ClosedLoop(engine, arena, instances=1, max_batch=BATCH) as loop:
            runs = [await loop.run(seconds, 2 * BATCH) for _ in range(4)][1:]
        return statistics.median(run.rate for run in runs), statistics.fmean(run.batch_mean for run in runs)
    finally:
        engine.close()
