"""Ways to make a batch of a network's input from JPEGs: ours, and as others are documented.

PyTorch-style is what torchvision's evaluation transforms do: PIL decode, resize, centre crop, ToTensor,
Normalize, then collation. It runs in torchvision where that is installed, else in Pillow and NumPy, which
torchvision's transforms of PIL images call themselves or mirror.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beyond_serve.preprocess.geometry import Geometry, geometry
from beyond_serve.preprocess.header import ImageHeader, read_header
from beyond_serve.preprocess.host import HostPreprocessor, LibraryJpegPath
from beyond_serve.preprocess.plan import Fidelity, PreprocessPlan

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Fill = Callable[[NDArray[Any]], None]
"""Writes a whole batch: uint8 [n, H, W, 3] or float32 [n, 3, H, W], as the pipeline's `output` says."""

TORCH_STYLE = "PyTorch-style"
_TORCHVISION, _DALI = "torchvision.transforms.functional", "nvidia.dali"
DALI_INSTALL = "pip install nvidia-dali-cuda120 (or -cuda130), which decodes on the CPU too"


@dataclass(frozen=True, slots=True)
class Task:
    """One JPEG and what is to be made of it."""

    data: bytes
    header: ImageHeader
    plan: PreprocessPlan
    shape: Geometry
    gain: Floats
    offset: Floats

    @classmethod
    def of(cls, data: bytes, plan: PreprocessPlan) -> Task:
        """`gain`, `offset`: float32 [3]; normalising is x * gain - offset.

        Raises:
            UnsupportedImageError, ImageDecodeError: no image.
        """
        header = read_header(data)
        norm = plan.normalization
        std = np.asarray(norm.std, np.float32)
        gain, offset = np.float32(norm.scale) / std, np.asarray(norm.mean, np.float32) / std
        return cls(data, header, plan, geometry(plan, header.width, header.height), gain, offset)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """`make` gives a `Fill` for one thread.

    output: uint8 leaves normalising to the engine's graph, float32 has done it.
    """

    name: str
    output: Literal["uint8", "float32"]
    make: Callable[[Task], Fill]


def plain_pipelines() -> list[Pipeline]:
    """Every step by itself on the whole image, each normalising on the CPU."""
    return [
        Pipeline("ours, optimisations off", "float32", ours_plain),
        _torch_style(draft=False),
        Pipeline("OpenCV", "float32", _opencv_plain),
        *_dali(),
    ]


def best_pipelines() -> list[Pipeline]:
    """Each as fast as it is known to be made. Ours writes uint8, which the engine's graph normalises."""
    return [
        Pipeline("ours, exact", "uint8", _ours("exact")),
        Pipeline("ours, fast", "uint8", _ours("fast")),
        _torch_style(draft=True),
        Pipeline("OpenCV", "float32", _opencv_reduced),
        *_dali(),
    ]


def missing() -> list[str]:
    """What is not installed, a sentence each."""
    told = []
    if why := import_error(_TORCHVISION):
        told.append(f"torchvision: {why}; {TORCH_STYLE} is Pillow and NumPy, step by step as it works")
    if why := dali_error():
        told.append(f"DALI on the CPU: {why}; {DALI_INSTALL}")
    return told


def each_row(one: Callable[[NDArray[Any]], None]) -> Fill:
    """A batch, row by row."""

    def fill(rows: NDArray[Any]) -> None:
        for row in rows:
            one(row)

    return fill


def _ours(fidelity: Fidelity) -> Callable[[Task], Fill]:
    def make(task: Task) -> Fill:
        host = HostPreprocessor(task.plan, fidelity)

        def one(row: NDArray[Any]) -> None:
            host.run(task.data, task.header, row)

        return each_row(one)

    return make


def ours_plain(task: Task) -> Fill:
    """All of our optimisations off: the whole image is decoded at full scale by the library, then resized,
    then normalised here; no native core, no scaled decoding, no normalising in the graph."""
    path = LibraryJpegPath(task.plan.interpolation, "exact", tolerate_corrupt=False)
    pixels = np.empty(task.plan.output_shape, np.uint8)

    def one(row: NDArray[Any]) -> None:
        path(task.data, task.header, task.shape, pixels)
        normalise_into(pixels, task, row)

    return each_row(one)


def normalise_into(pixels: Pixels, task: Task, row: Floats) -> None:
    """One pass each for the product and the sum, written where they belong, channels first."""
    np.multiply(pixels.transpose(2, 0, 1), task.gain[:, None, None], out=row)
    row -= task.offset[:, None, None]


def pillow_decode(task: Task, *, draft: bool = False) -> Image.Image:
    image: Image.Image = Image.open(BytesIO(task.data))
    if draft:
        image.draft("RGB", task.shape.resized)
    return image.convert("RGB")


def pillow_resize(task: Task, image: Image.Image) -> Image.Image:
    """Resized whole, then cropped: torchvision's order."""
    left, top = task.shape.start
    height, width, _ = task.plan.output_shape
    resized = image.resize(task.shape.resized, Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + width, top + height))


def torch_normalise(task: Task, image: Image.Image) -> Floats:
    """ToTensor and Normalize as torchvision does them: a new float32 [3, H, W], divided, then normalised."""
    norm = task.plan.normalization
    made = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)).astype(np.float32)
    made *= np.float32(norm.scale)
    made -= np.asarray(norm.mean, np.float32)[:, None, None]
    made /= np.asarray(norm.std, np.float32)[:, None, None]
    return made


def _torch_style(*, draft: bool) -> Pipeline:
    normalise = torch_normalise
    where = "Pillow + NumPy"
    if import_error(_TORCHVISION) is None:
        functional: Any = importlib.import_module(_TORCHVISION)
        where = "torchvision"

        def normalise(task: Task, image: Image.Image) -> Floats:
            norm = task.plan.normalization
            made: Any = functional.normalize(functional.to_tensor(image), norm.mean, norm.std)
            return cast("Floats", made.numpy())

    def make(task: Task) -> Fill:
        def one(row: NDArray[Any]) -> None:
            row[...] = normalise(task, pillow_resize(task, pillow_decode(task, draft=draft)))

        return each_row(one)

    return Pipeline(f"{TORCH_STYLE} ({where})", "float32", make)


def _opencv_plain(task: Task) -> Fill:
    """Decode, resize, crop, normalise: its documentation's order, on one thread."""
    cv2.setNumThreads(1)

    def one(row: NDArray[Any]) -> None:
        pixels: Any = cv2.imdecode(np.frombuffer(task.data, np.uint8), cv2.IMREAD_COLOR)
        resized: Any = cv2.resize(pixels, task.shape.resized, interpolation=cv2.INTER_AREA)
        left, top = task.shape.start
        height, width, _ = task.plan.output_shape
        crop = resized[top : top + height, left : left + width]
        normalise_into(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB), task, row)

    return each_row(one)


_REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


def _opencv_reduced(task: Task) -> Fill:
    """Decoded at the least scale that is not below the resized image, and cropped before resizing."""
    cv2.setNumThreads(1)
    scale = min(stored / made for stored, made in zip(task.shape.stored, task.shape.resized, strict=True))
    factor = next((factor for factor in _REDUCED if factor <= scale), 1)
    flag = _REDUCED.get(factor, cv2.IMREAD_COLOR)
    left, top, right, bottom = (round(edge / factor) for edge in task.shape.upright_box)
    height, width, _ = task.plan.output_shape

    def one(row: NDArray[Any]) -> None:
        pixels: Any = cv2.imdecode(np.frombuffer(task.data, np.uint8), flag)
        crop = pixels[top:bottom, left:right]
        resized: Any = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
        normalise_into(cv2.cvtColor(resized, cv2.COLOR_BGR2RGB), task, row)

    return each_row(one)


@functools.cache
def import_error(module: str) -> str | None:
    """Why `module` cannot be imported: "not installed", or its own words; None if it can."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        whole = error.name is not None and module.startswith(error.name)
        return "not installed" if whole else str(error)
    except (ImportError, OSError, RuntimeError) as error:
        return str(error)
    return None


@functools.cache
def dali_error() -> str | None:
    """Why DALI cannot be used, None if it can: installed, it may still lack the library that decodes."""
    if why := import_error(_DALI):
        return why
    dali: Any = importlib.import_module(_DALI)
    fn: Any = importlib.import_module(f"{_DALI}.fn")
    pipeline = dali.Pipeline(batch_size=1, num_threads=1, device_id=None)
    try:
        with pipeline:
            pipeline.set_outputs(fn.decoders.image(fn.external_source(name="encoded"), device="cpu"))
        pipeline.build()
    except RuntimeError as error:
        return next((line for line in str(error).splitlines() if "dlopen" in line), str(error))
    return None


def _dali() -> list[Pipeline]:
    return [Pipeline("DALI CPU", "float32", _dali_fill)] if dali_error() is None else []


def _dali_fill(task: Task) -> Fill:
    """A pipeline of one thread per worker, its batch copied into the network's."""
    built: dict[int, Any] = {}

    def fill(rows: NDArray[Any]) -> None:
        pipeline = built.get(len(rows))
        if pipeline is None:
            pipeline = built[len(rows)] = _dali_pipeline(task, len(rows))
        pipeline.feed_input("encoded", [np.frombuffer(task.data, np.uint8)] * len(rows))
        (made,) = pipeline.run()
        rows[...] = made.as_array()

    return fill


def _dali_pipeline(task: Task, batch: int) -> Any:
    """As its documentation's evaluation pipeline for ResNet-50, by the plan's numbers."""
    dali: Any = importlib.import_module("nvidia.dali")
    fn: Any = importlib.import_module("nvidia.dali.fn")
    types: Any = importlib.import_module("nvidia.dali.types")
    norm, (width, height) = task.plan.normalization, task.shape.resized
    pipeline = dali.Pipeline(batch_size=batch, num_threads=1, device_id=None, prefetch_queue_depth=1)
    with pipeline:
        encoded = fn.external_source(name="encoded", dtype=types.UINT8, no_copy=True)
        pixels = fn.decoders.image(encoded, device="cpu", output_type=types.RGB)
        resized = fn.resize(pixels, resize_x=width, resize_y=height, interp_type=types.INTERP_LINEAR)
        pipeline.set_outputs(
            fn.crop_mirror_normalize(
                resized,
                crop=task.plan.output_shape[:2],
                dtype=types.FLOAT,
                output_layout="CHW",
                mean=[mean / norm.scale for mean in norm.mean],
                std=[std / norm.scale for std in norm.std],
            )
        )
    pipeline.build()
    return pipeline
