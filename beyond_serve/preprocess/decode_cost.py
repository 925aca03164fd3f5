"""How long an image will take to decode, from its header, and how much memory: before either is spent."""

from __future__ import annotations

from beyond_serve.preprocess import native
from beyond_serve.preprocess.formats.image_header import Format, ImageHeader

_PIXELS_PER_BYTE = 8
"""A byte of compressed data costs about as much as this many pixels do. An invented number: one rate for each
format is learned, and it absorbs most of what this gets wrong."""

_RATE = 1 / 16
"""Weight of one image in the rates: an invented number."""

_WINDOW_ROWS = 64
"""Rows of a baseline JPEG that the native core holds at a time, at most."""


class DecodeCost:
    """Predicts decoding time from the header and the number of bytes, and learns from every image.

    State: a rate for each format and a mean over all. Owned by the event loop.

    Attributes:
        mean_ns: of the images seen lately, 0 before the first.
    """

    def __init__(self) -> None:
        self.mean_ns = 0.0
        self._ns_per_unit: dict[Format, float] = {}

    def predict_ns(self, header: ImageHeader, size: int) -> int:
        """Nanoseconds on one worker for an image of `size` bytes; 0 while nothing is known of its format."""
        return int(self._ns_per_unit.get(header.format, 0.0) * _units(header, size))

    def observe(self, header: ImageHeader, size: int, took_ns: int) -> None:
        rate = took_ns / _units(header, size)
        known = self._ns_per_unit.get(header.format)
        self._ns_per_unit[header.format] = rate if known is None else known + _RATE * (rate - known)
        self.mean_ns = took_ns if self.mean_ns == 0 else self.mean_ns + _RATE * (took_ns - self.mean_ns)


def _units(header: ImageHeader, size: int) -> float:
    return size + header.width * header.height / _PIXELS_PER_BYTE


def working_bytes(header: ImageHeader) -> int:
    """Memory that decoding takes while it runs, from above: a few rows where the native core streams, all
    coefficients of a progressive JPEG (16 bit), all pixels elsewhere."""
    pixels = header.width * header.height
    if header.format == "jpeg" and native.available():
        return pixels * 6 if header.progressive else header.width * _WINDOW_ROWS * 3
    return pixels * 4
