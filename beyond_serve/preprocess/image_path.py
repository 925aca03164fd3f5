"""One way from encoded bytes to pixels: the seam behind which decoders are exchanged."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from beyond_serve.preprocess.capabilities import Decoder
from beyond_serve.preprocess.geometry import Geometry
from beyond_serve.preprocess.header import ImageHeader


class Made(NamedTuple):
    """How an image was made.

    Attributes:
        decoded_ns: `time.monotonic_ns` at the border between decoding and transforming.
        decoder: what decoded it.
        scale: it was decoded at 1/scale of its size: 1, 2, 4 or 8.
    """

    decoded_ns: int
    decoder: Decoder
    scale: int


class ImagePath(Protocol):
    """One way from bytes to the output. Called on many threads at once."""

    def __call__(self, data: bytes, header: ImageHeader, shape: Geometry, out: NDArray[np.uint8]) -> Made:
        """Decode, and write every pixel of `out`.

        Raises:
            ImageDecodeError: the image's fault; `out` may hold anything then.
        """
        ...
