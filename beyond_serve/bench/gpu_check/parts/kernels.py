"""Our two kernels beside NumPy: pixels to the last bit, best classes with their order."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from beyond_serve.bench.gpu_check.device_memory import DeviceMemory
from beyond_serve.bench.gpu_check.figures import holds
from beyond_serve.bench.gpu_check.findings import Recorder
from beyond_serve.bench.gpu_check.reference import bfloat16, normalised
from beyond_serve.bench.gpu_check.site import Site
from beyond_serve.engines.classify import BatchOutputs, classify
from beyond_serve.engines.cuda.kernels import NORMALISED, RANKED, RANKS, Kernels
from beyond_serve.engines.cuda.runtime import CudaRuntime
from beyond_serve.engines.cuda.setup import DeviceKernels
from beyond_serve.engines.image_input import ImageInput
from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.preprocess.plan import IMAGENET_MEAN, IMAGENET_STD

SIZES = ((224, 224), (7, 5), (1, 1))
"""(H, W): a common one; one whose pixels are no multiple of four; the smallest."""

ROWS = (1, 3, 33)
CLASSES = (1, 2, 10, 1000, 1001, 20000)
_TOLERANCE = 1e-5
"""Of probabilities: sums in float32, taken in another order."""

_LAYOUTS: tuple[Literal["NHWC", "NCHW"], ...] = ("NHWC", "NCHW")


def run(site: Site, record: Recorder) -> None:
    runtime = site.runtime()
    check_kernels(runtime, Kernels(runtime), record, np.random.default_rng())


def check_kernels(
    runtime: CudaRuntime,
    kernels: DeviceKernels,
    record: Recorder,
    rng: np.random.Generator,
    *,
    sizes: tuple[tuple[int, int], ...] = SIZES,
    classes: tuple[int, ...] = CLASSES,
) -> None:
    """Fresh random inputs; every value is compared."""
    wrong = [
        fault
        for image in image_inputs(sizes)
        for rows in ROWS
        for fault in _normalise_fault(runtime, kernels, image, rows, rng)
    ]
    cases = len(image_inputs(sizes)) * len(ROWS)
    record.check(holds(f"normalise, {cases} cases", "NumPy's bits in every value", _first(wrong)))
    wrong, cases = [], 0
    for datatype in RANKED:
        for count in classes:
            for k in sorted({1, min(5, count), min(RANKS, count)}):
                for probabilities in (False, True):
                    cases += 1
                    wrong += _rank_fault(runtime, kernels, (datatype, count, k, probabilities), rng)
    record.check(
        holds(
            f"rank, {cases} cases with ties, NaN and infinities",
            "classify's classes in every row",
            _first(wrong),
        )
    )


def image_inputs(sizes: tuple[tuple[int, int], ...]) -> list[ImageInput]:
    """Every kind that the kernel knows."""
    found = []
    for datatype in NORMALISED:
        for layout in _LAYOUTS:
            for channels in (3, 1):
                gain, offset = _affine(datatype, channels)
                found += [
                    ImageInput("input", datatype, layout, size, channels, reverse, gain, offset)
                    for size in sizes
                    for reverse in (False, True)
                ]
    return found


def _affine(datatype: str, channels: int) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    if datatype == "UINT8":
        return None, None
    mean, std = np.array(IMAGENET_MEAN[:channels]), np.array(IMAGENET_STD[:channels])
    return (1 / 255 / std).astype(np.float32), (mean / std).astype(np.float32)


def _normalise_fault(
    runtime: CudaRuntime, kernels: DeviceKernels, image: ImageInput, rows: int, rng: np.random.Generator
) -> list[str]:
    pixels = rng.integers(0, 256, (rows, *image.host_shape), np.uint8)
    expected = normalised(pixels, image)
    with DeviceMemory(runtime) as memory:
        target = memory.room(expected.nbytes)
        kernels.normalise(
            source=memory.send(pixels), target=target, rows=rows, image=image, stream=memory.stream
        )
        found = memory.fetch(target, expected.dtype, expected.shape)
    off = int(np.count_nonzero(found != expected))
    what = f"{rows} rows {image.size} as {image.datatype} {image.layout}, {image.channels} channels"
    return [f"{off} of {found.size} values differ: {what}, reverse {image.reverse}"] if off else []


def scores_with_trouble(rows: int, classes: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """float32 [rows, classes], with whole numbers for ties, and rows of NaN and infinities among them."""
    scores = rng.standard_normal((rows, classes), np.float32) * np.float32(4)
    scores[1::4] = np.round(scores[1::4])
    scores[2, rng.integers(classes)] = np.nan
    scores[3, rng.integers(classes)] = -np.inf
    scores[4, rng.integers(classes)] = np.inf
    scores[5] = -np.inf
    return scores


def _rank_fault(
    runtime: CudaRuntime,
    kernels: DeviceKernels,
    case: tuple[str, int, int, bool],
    rng: np.random.Generator,
) -> list[str]:
    datatype, classes, k, probabilities = case
    rows = 19
    sent, scores = stored_as(datatype, scores_with_trouble(rows, classes, rng))
    with DeviceMemory(runtime) as memory:
        top, indices = memory.room(rows * k * 4), memory.room(rows * k * 4)
        kernels.rank(
            scores=memory.send(sent),
            datatype=datatype,
            rows=rows,
            classes=classes,
            k=k,
            probabilities=probabilities,
            top_scores=top,
            top_indices=indices,
            stream=memory.stream,
        )
        found = memory.fetch(top, np.float32, (rows, k)), memory.fetch(indices, np.int32, (rows, k))
    # Infinity less infinity, in the rows that are refused.
    with np.errstate(invalid="ignore"):
        expected = classify({"scores": scores}, _info(probabilities), k)
    fault = rank_fault(found[0], found[1], expected)
    return (
        [f"{fault}: {classes} classes of {datatype}, top {k}, probabilities {probabilities}"] if fault else []
    )


def rank_fault(
    top: NDArray[np.generic],
    indices: NDArray[np.generic],
    expected: BatchOutputs,
    tolerance: float = _TOLERANCE,
) -> str:
    """How ranks [n, k] differ from `classify`'s; empty if they don't. Rows of NaN must be NaN, no more."""
    assert expected.top_scores is not None
    assert expected.top_indices is not None
    bad = np.isnan(expected.top_scores[:, 0])
    if (np.isnan(top.astype(np.float64)[:, 0]) != bad).any():
        return "other rows are NaN"
    if (indices[~bad] != expected.top_indices[~bad]).any():
        row = int(np.flatnonzero(~bad)[(indices[~bad] != expected.top_indices[~bad]).any(axis=1)][0])
        return f"row {row} has the classes {indices[row].tolist()}, not {expected.top_indices[row].tolist()}"
    if not np.allclose(top[~bad].astype(np.float64), expected.top_scores[~bad], rtol=tolerance, atol=1e-7):
        return f"scores differ by more than {tolerance:g} of their size"
    return ""


def stored_as(datatype: str, scores: NDArray[np.float32]) -> tuple[NDArray[np.generic], NDArray[np.float32]]:
    """What is sent to the device, and the float32 that it means."""
    if datatype == "BF16":
        return bfloat16(scores)
    sent = scores.astype(np.float16 if datatype == "FP16" else np.float32)
    return sent, sent.astype(np.float32)


def _info(probabilities: bool) -> EngineInfo:
    return EngineInfo(
        engine="numpy",
        precision="fp32",
        device="cpu",
        inputs=(),
        outputs=(),
        scores="scores",
        scores_are_probabilities=probabilities,
    )


def _first(faults: list[str]) -> str:
    return f"{len(faults)} cases differ; {faults[0]}" if faults else ""
