"""Ways from a JPEG to a model's 224x224 input, each as its own documentation recommends.

Every one takes the centre 224 of the image resized to a short edge of 256, uint8 RGB, on one thread.
Libraries that are not installed are left out.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from beyond_serve.preprocess import native
from beyond_serve.preprocess.geometry import Geometry, geometry
from beyond_serve.preprocess.native_plan import native_params
from beyond_serve.preprocess.plan import Fidelity, PreprocessPlan

Pixels = NDArray[np.uint8]
Run = Callable[[bytes, Geometry], Pixels]

EDGE, CROP = 256, 224
PLAN = PreprocessPlan()


@dataclass(frozen=True, slots=True)
class Peer:
    """fidelity: "exact" decodes all pixels and averages them; "fast" decodes at a reduced scale."""

    name: str
    fidelity: Fidelity
    run: Run


def peers() -> list[Peer]:
    """Ours first, then what is installed here. Limits OpenCV to one thread for the whole process."""
    cv2.setNumThreads(1)
    found = [Peer("beyond-serve", "exact", _native("exact")), Peer("beyond-serve", "fast", _native("fast"))]
    found += [
        Peer("Pillow", "exact", _pillow(draft=False)),
        Peer("Pillow draft", "fast", _pillow(draft=True)),
        Peer("OpenCV", "exact", _opencv_full),
        Peer("OpenCV reduced", "fast", _opencv_reduced),
        Peer("simplejpeg + OpenCV", "exact", _simplejpeg_full),
        Peer("simplejpeg scaled + OpenCV", "fast", _simplejpeg_scaled),
    ]
    for build in (_pyvips, _nvimagecodec, _dali):
        try:
            found += build()
        except (ImportError, OSError, RuntimeError):
            continue
    return found


def shape_of(data: bytes) -> Geometry:
    return geometry(PLAN, *Image.open(BytesIO(data)).size)


def _native(fidelity: Fidelity) -> Run:
    slot = np.empty(PLAN.output_shape, np.uint8)

    def run(data: bytes, shape: Geometry) -> Pixels:
        params = native_params(shape, PLAN.interpolation, fidelity)
        assert params is not None
        native.decode(data, params, slot)
        return slot

    return run


def _pillow(*, draft: bool) -> Run:
    def run(data: bytes, shape: Geometry) -> Pixels:
        image: Image.Image = Image.open(BytesIO(data))
        if draft:
            image.draft("RGB", shape.resized)
        resized = image.convert("RGB").resize(shape.resized, Image.Resampling.BILINEAR)
        left, top = shape.start
        return np.asarray(resized.crop((left, top, left + CROP, top + CROP)))

    return run


def _cut_and_resize(pixels: Pixels, shape: Geometry, interpolation: int) -> Pixels:
    """Crop before resizing, the cheaper order, at whole pixels."""
    scale = pixels.shape[1] / shape.stored[0]
    left, top, right, bottom = (round(edge * scale) for edge in shape.upright_box)
    resized: Pixels = cv2.resize(pixels[top:bottom, left:right], (CROP, CROP), interpolation=interpolation)
    return resized


def _opencv(data: bytes, shape: Geometry, flag: int, interpolation: int) -> Pixels:
    pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    rgb: Pixels = cv2.cvtColor(_cut_and_resize(pixels, shape, interpolation), cv2.COLOR_BGR2RGB)
    return rgb


def _opencv_full(data: bytes, shape: Geometry) -> Pixels:
    return _opencv(data, shape, cv2.IMREAD_COLOR, cv2.INTER_AREA)


def _opencv_reduced(data: bytes, shape: Geometry) -> Pixels:
    flags = {
        8: cv2.IMREAD_REDUCED_COLOR_8,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        1: cv2.IMREAD_COLOR,
    }
    factor = next(factor for factor in flags if min(shape.stored) >= EDGE * factor or factor == 1)
    return _opencv(data, shape, flags[factor], cv2.INTER_LINEAR)


def _simplejpeg_full(data: bytes, shape: Geometry) -> Pixels:
    return _cut_and_resize(simplejpeg.decode_jpeg(data, "RGB"), shape, cv2.INTER_AREA)


def _simplejpeg_scaled(data: bytes, shape: Geometry) -> Pixels:
    pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=EDGE, min_width=EDGE, min_factor=1)
    return _cut_and_resize(pixels, shape, cv2.INTER_LINEAR)


def _pyvips() -> list[Peer]:
    vips: Any = importlib.import_module("pyvips")
    vips.cache_set_max(0)

    def run(data: bytes, shape: Geometry) -> Pixels:
        image = vips.Image.thumbnail_buffer(data, shape.resized[0], height=shape.resized[1], size="force")
        left, top = shape.start
        pixels: Pixels = image.crop(left, top, CROP, CROP).numpy()
        return pixels

    return [Peer("pyvips thumbnail", "fast", run)]


def _nvimagecodec() -> list[Peer]:
    codec: Any = importlib.import_module("nvidia.nvimgcodec")
    backends = [codec.Backend(codec.BackendKind.CPU_ONLY)]
    decoder = codec.Decoder(
        device_id=codec.NVIMGCODEC_DEVICE_CPU_ONLY, backends=backends, max_num_cpu_threads=1
    )

    def run(data: bytes, shape: Geometry) -> Pixels:
        left, top, right, bottom = (round(edge) for edge in shape.upright_box)
        region = codec.Region(top, left, bottom, right)
        image = decoder.decode(codec.CodeStream(data).get_sub_code_stream(region=region))
        pixels: Pixels = np.asarray(image.cpu())
        resized: Pixels = cv2.resize(pixels, (CROP, CROP), interpolation=cv2.INTER_AREA)
        return resized

    return [Peer("nvImageCodec CPU region + OpenCV", "exact", run)]


def _dali() -> list[Peer]:
    dali: Any = importlib.import_module("nvidia.dali")
    fn: Any = importlib.import_module("nvidia.dali.fn")
    types: Any = importlib.import_module("nvidia.dali.types")
    pipeline = dali.Pipeline(batch_size=1, num_threads=1, device_id=None, prefetch_queue_depth=1)
    with pipeline:
        encoded = fn.external_source(name="encoded", dtype=types.UINT8, no_copy=True)
        pixels = fn.decoders.image(encoded, device="cpu", output_type=types.RGB)
        resized = fn.resize(pixels, resize_shorter=EDGE, interp_type=types.INTERP_LINEAR, antialias=True)
        pipeline.set_outputs(fn.crop(resized, crop=(CROP, CROP), dtype=types.UINT8))
    pipeline.build()

    def run(data: bytes, shape: Geometry) -> Pixels:
        pipeline.feed_input("encoded", [np.frombuffer(data, np.uint8)])
        (out,) = pipeline.run()
        found: Pixels = np.asarray(out[0])
        return found

    return [Peer("DALI CPU", "exact", run)]


FIDELITIES: tuple[Fidelity, Fidelity] = ("exact", "fast")
