"""Encoded bytes to an upright array, for graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.preprocess.dag.spec import SourceSpec
from beyond_serve.preprocess.decoders import as_rgb, decode_image, decode_jpeg
from beyond_serve.preprocess.header import ImageHeader
from beyond_serve.preprocess.orientation import upright_size, upright_view


def source_spec(header: ImageHeader) -> SourceSpec:
    """What a graph needs to know of an image."""
    return SourceSpec(*upright_size(header.width, header.height, header.orientation))


def decode(data: bytes, header: ImageHeader) -> NDArray[Any]:
    """uint8 [H, W, 3] RGB, upright; by the fastest library decoder that gives Pillow's pixels.

    Raises:
        ImageDecodeError, PayloadTooLargeError: as decode_jpeg and decode_image.
    """
    if header.format == "jpeg" and header.channels != 4:
        return _finished(decode_jpeg(data, header), header)
    return decode_by_pillow(data, header)


def decode_by_pillow(data: bytes, header: ImageHeader) -> NDArray[Any]:
    """The same by Pillow: the reference."""
    return _finished(np.asarray(as_rgb(decode_image(data, header))), header)


def _finished(pixels: NDArray[Any], header: ImageHeader) -> NDArray[Any]:
    upright = upright_view(pixels, header.orientation)
    if upright.ndim == 3:
        return np.ascontiguousarray(upright)
    return np.repeat(upright[:, :, None], 3, axis=2)
