"""Images and scores for the kernels to work on."""

from __future__ import annotations

import numpy as np

from beyond_serve.engines.image_input import ImageInput
from beyond_serve.engines.tensor_rows import DTYPES


def image_input(
    datatype: str = "FP32",
    layout: str = "NCHW",
    size: tuple[int, int] = (4, 6),
    channels: int = 3,
    *,
    reverse: bool = False,
    gain: tuple[float, ...] = (0.017, 0.0175, 0.0174),
    offset: tuple[float, ...] = (2.1, 2.03, 1.8),
) -> ImageInput:
    weights = [np.array(values[:channels], np.float32) for values in (gain, offset)]
    return ImageInput(
        "pixels", datatype, layout, size, channels, reverse, *([None] * 2 if datatype == "UINT8" else weights)
    )


def pixels(count: int, size: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def scores_of(kind: str, rows: int, classes: int, datatype: str, seed: int) -> np.ndarray:
    """float32 [rows, classes] that `datatype` holds exactly."""
    rng = np.random.default_rng(seed)
    if kind == "tied":
        scores = rng.integers(-2, 3, (rows, classes)).astype(np.float32)
        scores[scores == 0] *= rng.choice([-1, 1], (scores == 0).sum())
    else:
        scores = (4 * rng.standard_normal((rows, classes))).astype(np.float32)
    if kind == "ruled out":
        scores[rng.random((rows, classes)) < 0.7] = -np.inf
    if kind == "bad":
        specials = np.array([np.nan, -np.nan, np.inf, -np.inf], np.float32)
        for row in range(0, rows, 2):
            scores[row, rng.integers(classes)] = rng.choice(specials)
        scores[-1] = -np.inf
    return values_of(stored(scores, datatype), datatype)


def stored(scores: np.ndarray, datatype: str) -> np.ndarray:
    if datatype == "BF16":
        return (scores.view(np.uint32) >> 16).astype(np.uint16)
    return scores.astype(DTYPES[datatype])


def values_of(array: np.ndarray, datatype: str) -> np.ndarray:
    if datatype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32)
