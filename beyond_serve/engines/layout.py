"""What a model's shapes say: where its channels lie and which output holds class scores. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from beyond_serve.engines.protocol import TensorSpec

Layout = Literal["NCHW", "NHWC"]

_SCORE_NAMES = ("logits", "scores", "probabilities", "probs", "prob", "softmax")
_FLOATS = ("FP16", "FP32", "FP64", "BF16")


class ImageAxes(NamedTuple):
    """size: (H, W), or None where one of them is free."""

    layout: Layout
    channels: int
    size: tuple[int, int] | None


def image_axes(shape: Sequence[int]) -> ImageAxes | None:
    """Read a shape [N, …] as an image batch; -1 is a free size. None if it is none.

    The channel axis is the one of size 3, else the one of size 1; where the second and the last
    axis both qualify alike ([N, 3, 224, 3]), the second wins, as most exporters write NCHW.
    """
    if len(shape) != 4:
        return None
    for channels in (3, 1):
        if shape[1] == channels:
            return ImageAxes("NCHW", channels, _size(shape[2], shape[3]))
        if shape[3] == channels:
            return ImageAxes("NHWC", channels, _size(shape[1], shape[2]))
    return None


def _size(height: int, width: int) -> tuple[int, int] | None:
    return (height, width) if height > 0 and width > 0 else None


def row_shape(layout: Layout, channels: int, size: tuple[int, int]) -> tuple[int, int, int]:
    """One image of a model's own input, without the batch axis."""
    return (channels, *size) if layout == "NCHW" else (*size, channels)


def fits(row: Sequence[int], shape: Sequence[int]) -> bool:
    """`row` is a row of a tensor [N, …] of `shape`, where -1 takes any size."""
    return len(row) == len(shape) - 1 and all(
        have > 0 and want in (-1, have) for have, want in zip(row, shape[1:], strict=True)
    )


def find_scores(outputs: Sequence[TensorSpec]) -> str | None:
    """The output of class scores: floats [N, C] or [N, C, 1, 1]; a telling name goes before order."""
    candidates = [spec for spec in outputs if spec.datatype in _FLOATS and _is_scores(spec.shape)]
    for wanted in _SCORE_NAMES:
        for spec in candidates:
            if spec.name.lower() == wanted:
                return spec.name
    return candidates[0].name if candidates else None


def _is_scores(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1))
