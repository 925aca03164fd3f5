"""How a host's uint8 RGB rows become a model's own input; the same facts for every engine's graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.layout import Layout, fits, row_shape
from beyond_serve.errors import ModelLoadError

if TYPE_CHECKING:
    from beyond_serve.preprocess.plan import Normalization

# ITU-R BT.601 luma, the weights of Pillow's and OpenCV's conversions to grey.
LUMA = (0.299, 0.587, 0.114)
DEFAULT_SIZE = (224, 224)


@dataclass(frozen=True, slots=True)
class ImageInput:
    """What goes in front of the model: uint8 [n, H, W, 3] RGB → `x * gain - offset` in its layout and dtype.

    Attributes:
        name: the model's own input.
        size: (H, W).
        channels: 3, or 1: the graph then makes BT.601 grey first.
        reverse: the model wants BGR.
        gain, offset: float32 [channels], in the model's channel order. None where the model takes
            uint8: it normalises by itself and gets the pixels as they are.
    """

    name: str
    datatype: str
    layout: Layout
    size: tuple[int, int]
    channels: int
    reverse: bool
    gain: NDArray[np.float32] | None
    offset: NDArray[np.float32] | None

    @property
    def host_shape(self) -> tuple[int, int, int]:
        return (*self.size, 3)

    @property
    def row_shape(self) -> tuple[int, int, int]:
        return row_shape(self.layout, self.channels, self.size)


def image_input(
    description: ModelDescription, normalization: Normalization | None, size: tuple[int, int] | None
) -> tuple[ImageInput, tuple[str, ...]]:
    """Join the model's wishes with the plan's; also returns warnings.

    Args:
        normalization: None leaves the values at 0 to 255.
        size: (H, W) that the host makes; None takes the model's, or 224x224 where that is free.

    Raises:
        ModelLoadError: the host's size is not the model's.
    """
    spec, layout = description.inputs[0], description.layout
    assert layout is not None
    size = size or description.image_size or DEFAULT_SIZE
    if not fits(row_shape(layout, description.channels, size), spec.shape):
        raise ModelLoadError(
            f"preprocessing makes {size[0]}x{size[1]} images; the input '{spec.name}' is {list(spec.shape)}",
            "mend the size in the file beside the model",
        )
    grey = description.channels == 1
    reverse = normalization is not None and normalization.channel_order == "BGR" and not grey
    gain, offset, warnings = _affine(description, normalization)
    return (
        ImageInput(spec.name, spec.datatype, layout, size, description.channels, reverse, gain, offset),
        warnings,
    )


def _affine(
    description: ModelDescription, normalization: Normalization | None
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None, tuple[str, ...]]:
    channels = description.channels
    warnings: tuple[str, ...] = ()
    if description.datatype == "UINT8":
        return None, None, ()
    if normalization is None:
        return np.ones(channels, np.float32), np.zeros(channels, np.float32), ()
    mean, std = np.array(normalization.mean, np.float64), np.array(normalization.std, np.float64)
    if channels == 1:
        if np.ptp(mean) or np.ptp(std):
            warnings = ("the model is grey: the average of the preprocessing's three means and stds is used",)
        mean, std = mean.mean(keepdims=True), std.mean(keepdims=True)
    gain, offset = normalization.scale / std, mean / std
    return gain.astype(np.float32), offset.astype(np.float32), warnings
