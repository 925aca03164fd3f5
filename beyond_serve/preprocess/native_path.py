"""The native core as one way from encoded bytes to the output, with another way for what it leaves alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beyond_serve.errors import UnsupportedImageError
from beyond_serve.preprocess.capabilities import Decoder
from beyond_serve.preprocess.geometry import Geometry
from beyond_serve.preprocess.header import ImageHeader
from beyond_serve.preprocess.image_path import ImagePath, Made
from beyond_serve.preprocess.native import decode
from beyond_serve.preprocess.native_plan import native_params
from beyond_serve.preprocess.plan import Fidelity, Interpolation


@dataclass(frozen=True, slots=True)
class NativePath:
    """Decode, resize and placement in one native call; `otherwise` for plans and files the core does not do.

    Its border between decoding and transforming is where the border would lie: the two interleave row by row,
    and the native call tells the time spent in each.
    """

    interpolation: Interpolation
    fidelity: Fidelity
    tolerate_corrupt: bool
    otherwise: ImagePath

    def __call__(self, data: bytes, header: ImageHeader, shape: Geometry, out: NDArray[np.uint8]) -> Made:
        params = native_params(
            shape, self.interpolation, self.fidelity, tolerate_corrupt=self.tolerate_corrupt
        )
        if params is None:
            return self.otherwise(data, header, shape, out)
        try:
            outcome = decode(data, params, out)
        except UnsupportedImageError:
            return self.otherwise(data, header, shape, out)
        return Made(outcome.start_ns + outcome.decode_ns, Decoder.NATIVE, 8 // outcome.scale)
