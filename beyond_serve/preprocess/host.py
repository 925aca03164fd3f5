"""Preprocessing on the host: encoded bytes to a row of a batch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from beyond_serve.preprocess import native
from beyond_serve.preprocess.decoders import decode_image, decode_jpeg
from beyond_serve.preprocess.geometry import Geometry, geometry
from beyond_serve.preprocess.header import ImageHeader
from beyond_serve.preprocess.native import NativeParams
from beyond_serve.preprocess.native_path import NativePath
from beyond_serve.preprocess.native_plan import native_params
from beyond_serve.preprocess.plan import Fidelity, Interpolation, PreprocessPlan
from beyond_serve.preprocess.resample import resample_exact
from beyond_serve.preprocess.resample_fast import resample_fast


class ImagePath(Protocol):
    """One way from bytes to the output; the seam for another decoder. Called on many threads at once."""

    def __call__(self, data: bytes, header: ImageHeader, shape: Geometry, out: NDArray[np.uint8]) -> int:
        """Decode, and write every pixel of `out`; returns monotonic_ns at the border between decoding
        and transforming.

        Raises:
            ImageDecodeError: the image's fault; `out` may hold anything then.
        """
        ...


class HostPreprocessor:
    """Runs a plan on one image at a time. Stateless after construction: safe on many threads.

    Guarantees: only errors of beyond_serve.errors are raised for whatever bytes; the heavy parts of every
    path (libjpeg-turbo, Pillow, OpenCV) run without the GIL.

    Args:
        plan: what to make.
        fidelity: "exact" is Pillow's pixels within one level; "fast" scales JPEGs while decoding and
            resizes with OpenCV. PNG and WebP, which have no scales, are exact in the native core.
        tolerate_corrupt: take what there is of a truncated or corrupt JPEG and, with the native core, of a
            PNG or WebP. Off, such an image is an ImageDecodeError. Other formats are never tolerated.
    """

    def __init__(
        self, plan: PreprocessPlan, fidelity: Fidelity = "exact", *, tolerate_corrupt: bool = False
    ) -> None:
        self.plan = plan
        self.fidelity = fidelity
        self._shape = plan.output_shape
        self._tolerate_corrupt = tolerate_corrupt
        self._jpeg = jpeg_path(plan.interpolation, fidelity, tolerate_corrupt)
        self._other: ImagePath = PillowPath(plan.interpolation, None if fidelity == "exact" else 2.0)
        self._by_rows = by_rows_path(plan.interpolation, fidelity, tolerate_corrupt, self._other)

    def native_params(self, header: ImageHeader) -> NativeParams | None:
        """The image in the native core's numbers, for `NativePool`; None where `run` must do it."""
        if not in_native_core(header):
            return None
        shape = geometry(self.plan, header.width, header.height, header.orientation)
        return native_params(
            shape, self.plan.interpolation, self.fidelity, tolerate_corrupt=self._tolerate_corrupt
        )

    def run(self, data: bytes, header: ImageHeader, out: NDArray[np.uint8]) -> int:
        """Write the image into `out`, uint8 [H, W, 3] RGB of the plan's output shape.

        `header` is what `read_header(data)` returned. Returns `time.monotonic_ns` at the border between
        decoding and transforming.

        Raises:
            ImageDecodeError: the bytes cannot be decoded, or are not what their header says.
            PayloadTooLargeError: there is no memory for the pixels.
        """
        if out.shape != self._shape or out.dtype != np.uint8:
            raise ValueError(f"out is {out.dtype}{out.shape}, the plan makes uint8{self._shape}")
        shape = geometry(self.plan, header.width, header.height, header.orientation)
        path = self._other
        if in_native_core(header):
            path = self._jpeg if header.format == "jpeg" else self._by_rows
        return path(data, header, shape, out)


def in_native_core(header: ImageHeader) -> bool:
    """Whether the native core knows this kind of file. Pillow converts CMYK, so it decodes it too."""
    if header.format == "jpeg":
        return header.channels != 4
    return header.format in ("png", "webp") and not (header.progressive or header.animated)


def jpeg_path(interpolation: Interpolation, fidelity: Fidelity, tolerate_corrupt: bool) -> ImagePath:
    """How grey and three-component JPEGs go: by the native core where it was built."""
    library = library_jpeg_path(interpolation, fidelity, tolerate_corrupt)
    if native.available():
        return NativePath(interpolation, fidelity, tolerate_corrupt, library)
    return library


def by_rows_path(
    interpolation: Interpolation, fidelity: Fidelity, tolerate_corrupt: bool, library: ImagePath
) -> ImagePath:
    """How PNG and WebP go, whose rows come in order: by the native core, which stops after the last one wanted."""
    if native.available():
        return NativePath(interpolation, fidelity, tolerate_corrupt, library)
    return library


def library_jpeg_path(interpolation: Interpolation, fidelity: Fidelity, tolerate_corrupt: bool) -> ImagePath:
    """The same by libraries alone."""
    # Nearest picks single source pixels: there is nothing cheaper that would be close to it.
    if fidelity == "exact" or interpolation is Interpolation.NEAREST:
        return ExactJpegPath(interpolation, tolerate_corrupt)
    return ScaledJpegPath(interpolation, tolerate_corrupt)


@dataclass(frozen=True, slots=True)
class ExactJpegPath:
    """Full decode by libjpeg-turbo, Pillow's filter on the region."""

    interpolation: Interpolation
    tolerate_corrupt: bool

    def __call__(self, data: bytes, header: ImageHeader, shape: Geometry, out: NDArray[np.uint8]) -> int:
        pixels = decode_jpeg(data, header, tolerate_corrupt=self.tolerate_corrupt)
        decoded_ns = time.monotonic_ns()
        resample_exact(pixels, shape, self.interpolation, out)
        return decoded_ns


@dataclass(frozen=True, slots=True)
class ScaledJpegPath:
    """Decode at the smallest scale that still has a pixel for every output pixel, resize with OpenCV."""

    interpolation: Interpolation
    tolerate_corrupt: bool

    def __call__(self, data: bytes, header: ImageHeader, shape: Geometry, out: NDArray[np.uint8]) -> int:
        denominator = scale_denominator(shape)
        pixels = decode_jpeg(data, header, denominator=denominator, tolerate_corrupt=self.tolerate_corrupt)
        decoded_ns = time.monotonic_ns()
        if not resample_fast(pixels, denominator, shape, self.interpolation, out):
            resample_exact(pixels, shape.reduced(denominator), self.interpolation, out)
        return decoded_ns


@dataclass(frozen=True, slots=True)
class PillowPath:
    """Pillow for everything else."""

    interpolation: Interpolation
    reducing_gap: float | None

    def __call__(self, data: bytes, header: ImageHeader, shape: Geometry, out: NDArray[np.uint8]) -> int:
        image = decode_image(data, header)
        decoded_ns = time.monotonic_ns()
        resample_exact(image, shape, self.interpolation, out, self.reducing_gap)
        return decoded_ns


def scale_denominator(shape: Geometry) -> int:
    """8, 4 or 2 where the decoder may shrink by it and still have a pixel for each output pixel, else 1.

    Only these: libjpeg-turbo's scales between them have no SIMD code and cost more than a full decode.
    """
    left, top, right, bottom = shape.upright_box
    shrink = min((right - left) / shape.upright_size[0], (bottom - top) / shape.upright_size[1])
    for denominator in (8, 4, 2):
        if shrink >= denominator:
            return denominator
    return 1
