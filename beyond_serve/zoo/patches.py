"""Seeded images to run a network on where no photographs are at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PATCHES = 5
_GRAIN = 0.25


def patchy_images(rng: np.random.Generator, count: int, size: int) -> NDArray[np.float32]:
    """float32 [count, 3, size, size] of about unit variance: patches of colour under some grain.

    Plain noise will not do: networks average it away, and all images look alike to them.
    """
    edge = -(-size // _PATCHES)
    patches = rng.standard_normal((count, 3, _PATCHES, _PATCHES), dtype=np.float32)
    large = patches.repeat(edge, axis=2).repeat(edge, axis=3)[:, :, :size, :size]
    grain = rng.standard_normal((count, 3, size, size), dtype=np.float32)
    images: NDArray[np.float32] = large + np.float32(_GRAIN) * grain
    return images
