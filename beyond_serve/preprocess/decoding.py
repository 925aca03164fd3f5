"""One image by a plan, in one call; for programs that are no server."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from beyond_serve.preprocess.capabilities import Decoder
from beyond_serve.preprocess.geometry import Region
from beyond_serve.preprocess.header import ImageHeader, read_header
from beyond_serve.preprocess.host import HostPreprocessor, check_output
from beyond_serve.preprocess.limits import PixelLimits
from beyond_serve.preprocess.plan import Fidelity, PreprocessPlan

DEFAULT_LIMITS = PixelLimits()


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image that was decoded, and how.

    Attributes:
        pixels: uint8 [H, W, 3] RGB of the plan's output shape; `out` itself where the caller gave it.
        header: what the image said of itself.
        decoder: what decoded it.
        scale: it was decoded at 1/scale of its size: 1, 2, 4 or 8.
        decode_ns, transform_ns: time spent on each, waiting not counted.
    """

    pixels: NDArray[np.uint8]
    header: ImageHeader
    decoder: Decoder
    scale: int
    decode_ns: int
    transform_ns: int


def decode(
    data: bytes,
    plan: PreprocessPlan,
    out: NDArray[np.uint8] | None = None,
    *,
    fidelity: Fidelity = "exact",
    region: Region | None = None,
    tolerate_corrupt: bool = False,
    limits: PixelLimits = DEFAULT_LIMITS,
) -> Decoded:
    """Decode a JPEG, PNG, WebP, BMP or GIF into uint8 [H, W, 3] RGB as `plan` says, on this thread.

    By the native core where it is built and can, else by libraries, with the same pixels in "exact". The
    heavy part runs without the GIL.

    Args:
        data: the encoded image.
        plan: what to make of it; its normalisation is not applied.
        out: where to write: uint8, the plan's output shape, C-contiguous, writable, such as a row of a batch.
            A new array if None. After an error its content is undefined.
        fidelity: "exact" is what Pillow makes; "fast" may decode a JPEG at a reduced scale, and is at least
            38 dB from "exact" on photographs.
        region: takes the whole image's place, see `Region`.
        tolerate_corrupt: take what there is of a damaged image instead of refusing it, where the decoder can.
        limits: how large an image may be; looked at before anything is allocated for it.

    Raises:
        UnsupportedImageError: empty, or of no format that is served.
        ImageDecodeError: truncated or corrupt, or it contradicts itself; says where.
        PayloadTooLargeError: beyond `limits`, or there is no memory.
        InvalidRequestError: the region does not lie inside the image.
        ValueError, TypeError: `out` or `data` is nothing that any image could go with.
    """
    pixels = output_for(plan, data, out)
    header = checked_header(data, plan, region, limits)
    started_ns = time.monotonic_ns()
    made = preprocessor_for(plan, fidelity, tolerate_corrupt).run(data, header, pixels, region)
    decode_ns, transform_ns = made.decoded_ns - started_ns, time.monotonic_ns() - made.decoded_ns
    return Decoded(pixels, header, made.decoder, made.scale, decode_ns, transform_ns)


def output_for(plan: PreprocessPlan, data: bytes, out: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """`out`, or a new array for it; TypeError, ValueError for arguments that are wrong whatever the image."""
    if not isinstance(data, bytes):
        raise TypeError(f"data is {type(data).__name__}; the encoded image is given as bytes")
    if out is None:
        return np.empty(plan.output_shape, np.uint8)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out is {type(out).__name__}; a NumPy array is wanted")
    check_output(out, plan.output_shape)
    return out


def checked_header(
    data: bytes, plan: PreprocessPlan, region: Region | None, limits: PixelLimits
) -> ImageHeader:
    header = read_header(data)
    limits.check(header, plan, region)
    return header


@lru_cache(maxsize=64)
def preprocessor_for(plan: PreprocessPlan, fidelity: Fidelity, tolerate_corrupt: bool) -> HostPreprocessor:
    return HostPreprocessor(plan, fidelity, tolerate_corrupt=tolerate_corrupt)
