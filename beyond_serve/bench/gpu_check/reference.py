"""What our kernels and networks are compared with, in NumPy; and how far apart rows are. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.image_input import LUMA, ImageInput

_DTYPES = {"FP32": np.float32, "FP16": np.float16, "UINT8": np.uint8}


def normalised(rows: NDArray[np.uint8], image: ImageInput) -> NDArray[np.generic]:
    """uint8 [n, H, W, 3] RGB as the network's input [n, *row_shape]; rounded to float32 after each step."""
    values = rows[..., ::-1] if image.reverse else rows
    made: NDArray[np.float32] = _grey(values) if image.channels == 1 else values.astype(np.float32)
    if image.gain is not None and image.offset is not None:
        made = made * image.gain - image.offset
    elif image.channels == 1:
        made = made + np.float32(0.5)
    if image.layout == "NCHW":
        made = made.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(made.astype(_DTYPES[image.datatype]))


def _grey(values: NDArray[np.uint8]) -> NDArray[np.float32]:
    """BT.601 [n, H, W, 1], each further colour added with one rounding: doubles hold these sums exactly."""
    luma = np.array(LUMA, np.float32).astype(np.float64)
    total: NDArray[np.float32] = (values[..., 0] * luma[0]).astype(np.float32)
    for channel in (1, 2):
        total = (values[..., channel] * luma[channel] + total).astype(np.float32)
    return total[..., np.newaxis]


def bfloat16(values: NDArray[np.float32]) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """`values` cut off to bfloat16: its bits, and what they mean."""
    bits = (values.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def row_errors(found: NDArray[np.generic], expected: NDArray[np.generic]) -> NDArray[np.float64]:
    """How far each row is off: the Euclidean norm of the difference over that of the expected row.

    Arrays [n, …] of equal shape give [n]. NaN where either is not finite: such a row meets no limit.
    """
    count = len(expected)
    wrong = found.reshape(count, -1).astype(np.float64) - expected.reshape(count, -1).astype(np.float64)
    size = np.linalg.norm(expected.reshape(count, -1).astype(np.float64), axis=1)
    off = np.linalg.norm(wrong, axis=1)
    result: NDArray[np.float64] = np.divide(off, size, out=np.where(off == 0, 0.0, np.inf), where=size > 0)
    return np.where(np.isfinite(off) & np.isfinite(size), result, np.nan)


def worst(errors: NDArray[np.float64]) -> float:
    """The largest; NaN if any is."""
    return float(np.max(errors)) if len(errors) else float("nan")
