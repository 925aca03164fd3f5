"""Preprocessing on the host: encoded bytes to a row of a batch."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beyond_serve.preprocess import native
from beyond_serve.preprocess.capabilities import Decoder
from beyond_serve.preprocess.dct_scale import denominator, least_ratio
from beyond_serve.preprocess.decoders import decode_image, decode_jpeg
from beyond_serve.preprocess.geometry import Geometry, Region, geometry
from beyond_serve.preprocess.header import ImageHeader
from beyond_serve.preprocess.image_path import ImagePath, Made
from beyond_serve.preprocess.native import NativeParams
from beyond_serve.preprocess.native_path import NativePath
from beyond_serve.preprocess.native_plan import native_params
from beyond_serve.preprocess.plan import Fidelity, Interpolation, PreprocessPlan
from beyond_serve.preprocess.resample import resample


class HostPreprocessor:
    """Runs a plan on one image at a time. Stateless after construction: safe on many threads.

    Guarantees: only errors of beyond_serve.errors are raised for whatever bytes; the heavy parts of every
    path (native core, libjpeg-turbo, Pillow) run without the GIL.

    Args:
        plan: what to make.
        fidelity: "exact" is Pillow's pixels; "fast" scales JPEGs while decoding, by a margin that keeps 38 dB
            on photographs. PNG and WebP, which have no scales, are exact in the native core.
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
        how = (plan.interpolation, fidelity, tolerate_corrupt)
        self._jpeg = native_or(LibraryJpegPath(*how), *how)
        self._other: ImagePath = PillowPath(plan.interpolation, fidelity)
        self._by_rows = native_or(self._other, *how)

    def native_params(self, header: ImageHeader, region: Region | None = None) -> NativeParams | None:
        """The image in the native core's numbers, for `NativePool`; None where `run` must do it."""
        if not in_native_core(header):
            return None
        shape = geometry(self.plan, header.width, header.height, header.orientation, region)
        return native_params(
            shape, self.plan.interpolation, self.fidelity, tolerate_corrupt=self._tolerate_corrupt
        )

    def run(
        self, data: bytes, header: ImageHeader, out: NDArray[np.uint8], region: Region | None = None
    ) -> Made:
        """Write the image, or a region of it, into `out`, uint8 [H, W, 3] RGB of the plan's output shape.

        `header` is what `read_header(data)` returned.

        Raises:
            ImageDecodeError: the bytes cannot be decoded, or are not what their header says.
            PayloadTooLargeError: there is no memory for the pixels.
            InvalidRequestError: the region does not lie inside the image.
            ValueError: `out` is not what the plan makes.
        """
        check_output(out, self._shape)
        shape = geometry(self.plan, header.width, header.height, header.orientation, region)
        path = self._other
        if in_native_core(header):
            path = self._jpeg if header.format == "jpeg" else self._by_rows
        return path(data, header, shape, out)


def in_native_core(header: ImageHeader) -> bool:
    """Whether the native core knows this kind of file. Pillow converts CMYK, so it decodes it too."""
    if header.format == "jpeg":
        return header.channels != 4
    return header.format in ("png", "webp") and not (header.progressive or header.animated)


def native_or(
    library: ImagePath, interpolation: Interpolation, fidelity: Fidelity, tolerate_corrupt: bool
) -> ImagePath:
    """The native core where it was built, with `library` for what it leaves alone; else `library`."""
    if native.available():
        return NativePath(interpolation, fidelity, tolerate_corrupt, library)
    return library


def check_output(out: NDArray[np.uint8], shape: tuple[int, int, int]) -> None:
    """Raises ValueError unless `out` is what a plan can write to: the caller's mistake, not an image's."""
    if out.dtype != np.uint8 or out.shape != shape:
        raise ValueError(f"out is {out.dtype} {list(out.shape)}, the plan makes uint8 {list(shape)}")
    if not out.flags.c_contiguous:
        raise ValueError("out is not C-contiguous; rows and pixels must lie one behind the other")
    if not out.flags.writeable:
        raise ValueError("out is read-only")


@dataclass(frozen=True, slots=True)
class LibraryJpegPath:
    """Decode by libjpeg-turbo, in "fast" at the scale that `dct_scale` allows; resize by Pillow.

    (The few files with sampling factors that simplejpeg refuses are decoded by Pillow's libjpeg.)
    """

    interpolation: Interpolation
    fidelity: Fidelity
    tolerate_corrupt: bool

    def __call__(self, data: bytes, header: ImageHeader, shape: Geometry, out: NDArray[np.uint8]) -> Made:
        by = denominator(shape, least_ratio(self.interpolation, self.fidelity))
        pixels = decode_jpeg(data, header, denominator=by, tolerate_corrupt=self.tolerate_corrupt)
        decoded_ns = time.monotonic_ns()
        resample(pixels, shape.reduced(by), self.interpolation, out, self.fidelity)
        return Made(decoded_ns, Decoder.SIMPLEJPEG, by)


@dataclass(frozen=True, slots=True)
class PillowPath:
    """Pillow for everything else."""

    interpolation: Interpolation
    fidelity: Fidelity

    def __call__(self, data: bytes, header: ImageHeader, shape: Geometry, out: NDArray[np.uint8]) -> Made:
        image = decode_image(data, header)
        decoded_ns = time.monotonic_ns()
        resample(image, shape, self.interpolation, out, self.fidelity)
        return Made(decoded_ns, Decoder.PILLOW, 1)
