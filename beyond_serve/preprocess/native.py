"""The native core: decode of a region of a JPEG, PNG or WebP, resize and placement in one call, GIL released.

Present where the package's build found its tools (`available()`); the library decoders serve otherwise.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from beyond_serve.errors import (
    BeyondError,
    ImageDecodeError,
    PayloadTooLargeError,
    ShuttingDownError,
    UnsupportedImageError,
)

_native: Any
try:
    from beyond_serve.preprocess import _native  # type: ignore[attr-defined, no-redef, unused-ignore]
except ImportError:
    _native = None


class NativeFilter(IntEnum):
    """Pillow's antialiased filters, by the core's numbers."""

    BILINEAR = 0
    BICUBIC = 1
    BOX = 2
    HAMMING = 3
    LANCZOS = 4


class NativeFlag(IntFlag):
    """FANCY_UPSAMPLING: interpolate chroma as libjpeg and Pillow do; off, it is replicated, which is faster.
        JPEG alone: a WebP's chroma is always interpolated.
    TOLERATE_CORRUPT: take what there is of a damaged image. A PNG or WebP is black below the damage.
    PLANAR: the output is [3, H, W] instead of [H, W, 3].
    VERTICAL_FIRST: order of the two resize passes, which shows in the rounding between them.
    LIBRARY_ENTROPY, PORTABLE: entropy decoding by libjpeg alone, resizing without SIMD: to compare with.
        The result is the same.
    """

    FANCY_UPSAMPLING = 1
    TOLERATE_CORRUPT = 2
    PLANAR = 4
    VERTICAL_FIRST = 8
    LIBRARY_ENTROPY = 16
    PORTABLE = 32


class NativeStatus(IntEnum):
    OK = 0
    CORRUPT = 1
    UNSUPPORTED = 2
    LIMIT = 3
    INVALID = 4
    CANCELLED = 5
    TRUNCATED = 6


class NativeParams(NamedTuple):
    """One decode in numbers. `x0 .. y1` of the image as stored is resized to `resized_width x
    resized_height`, of which the window at (left, top) is made; then the EXIF orientation is applied.

    Attributes:
        x0, y0, x1, y1: source box in pixels of the stored image, edges between pixels being whole.
        resized_width, resized_height: what the box becomes, in the stored orientation; never materialised.
        left, top: of the window in it.
        width, height: of the output as displayed. Where the orientation swaps the axes the window is
            height x width. At most 16384.
        filter: NativeFilter.
        orientation: EXIF, 1 to 8.
        min_ratio: scale in the frequency domain (1/2, 1/4, 1/8) as far as the scaled box keeps at least
            this many pixels per output pixel on each axis; 0 never scales. JPEG alone; other formats have
            no scales and are always decoded as they are.
        flags: NativeFlag.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    resized_width: int
    resized_height: int
    left: int
    top: int
    width: int
    height: int
    filter: int = NativeFilter.BILINEAR
    orientation: int = 1
    min_ratio: float = 0.0
    flags: int = NativeFlag.FANCY_UPSAMPLING


class NativeOutcome(NamedTuple):
    """What one decode did.

    Attributes:
        status: NativeStatus.
        message: what was wrong; None when OK.
        byte: position in the file where the decoder stood when it failed, -1 if unknown.
        row: next row of the scaled image at that time, -1 before the first.
        warnings: of damage; more than 0 only with TOLERATE_CORRUPT, or 1 on a CORRUPT JPEG.
        scale: eighths of the size decoded at.
        start_ns, end_ns: time.monotonic_ns() of the decode.
        decode_ns, resize_ns: time spent in each; the two interleave row by row.
        paused_ns: time in which the pool's thread did shorter images meanwhile.
        format: "JPEG", "PNG" or "WebP", by the file's first bytes.
    """

    status: int
    message: str | None
    byte: int
    row: int
    warnings: int
    scale: int
    start_ns: int
    end_ns: int
    decode_ns: int
    resize_ns: int
    paused_ns: int
    format: str = "JPEG"

    def error(self) -> BeyondError | None:
        """The failure in the package's terms; None when OK."""
        if self.status == NativeStatus.OK:
            return None
        where = f" at byte {self.byte}" if self.byte >= 0 else ""
        where += f", row {self.row}" if self.row >= 0 else ""
        if self.status == NativeStatus.CANCELLED:
            return ShuttingDownError("the image was not decoded before the pool closed")
        if self.status == NativeStatus.TRUNCATED:
            return ImageDecodeError(
                f"the {self.format} is truncated: it ends at byte {self.byte}, "
                f"before its row {max(self.row, 0)} is complete",
                "send the complete file",
            )
        kind = _ERRORS.get(self.status, ImageDecodeError)
        return kind(f"the {self.format} cannot be decoded: {self.message}{where}")


_ERRORS: dict[int, type[BeyondError]] = {
    NativeStatus.UNSUPPORTED: UnsupportedImageError,
    NativeStatus.LIMIT: PayloadTooLargeError,
}


def available() -> bool:
    """Whether the native core was built for this installation."""
    return _native is not None


def native_module() -> Any:
    """The extension module.

    Raises:
        RuntimeError: it was not built; ask `available()` first.
    """
    if _native is None:
        raise RuntimeError("the native core is not built in this installation")
    return _native


def simd() -> str:
    """The instruction set the resize runs on here: "avx2", "generic"; "" without the core."""
    return str(_native.SIMD) if _native is not None else ""


def decode(
    data: bytes | bytearray | memoryview, params: NativeParams, out: NDArray[np.uint8] | memoryview
) -> NativeOutcome:
    """Decode one JPEG, PNG or WebP into `out`: uint8, C-contiguous, writable, exactly the output's size.

    The GIL is released throughout. What follows the region's last row is not decoded, and not judged: a file
    that is cut or damaged there is as good as a whole one. (Decoders read a few kilobytes ahead: 8 kB of a
    PNG, a row or two of macroblocks of a WebP.) On failure the content of `out` is undefined; nothing outside
    it is ever written.

    PNG and WebP: every PNG colour type and depth, as Pillow reads it; alpha and transparency are dropped, 16
    bits keep their high byte.

    Raises:
        ImageDecodeError: corrupt (libjpeg warnings and wrong checksums count, unless tolerated), or the box
            is not in the image.
        UnsupportedImageError: for another decoder: JPEGs with four components, lossless or 12-bit, interlaced
            PNGs, animations.
        PayloadTooLargeError: more pixels or memory than the core allows itself.
        ValueError: params or `out` that no image could satisfy.
    """
    outcome = NativeOutcome._make(native_module().decode(data, params, out))
    error = outcome.error()
    if error is not None:
        raise error
    return outcome
