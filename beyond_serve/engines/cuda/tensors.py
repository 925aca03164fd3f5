"""Rows of tensors as bytes: how long they are on the device, and how the host reads them. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.errors import ModelLoadError

Array = NDArray[np.generic]

_STORED = {
    "FP64": "f8", "FP32": "f4", "FP16": "f2", "BF16": "u2", "INT64": "i8", "INT32": "i4", "INT16": "i2",
    "INT8": "i1", "UINT64": "u8", "UINT32": "u4", "UINT16": "u2", "UINT8": "u1", "BOOL": "?",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RowLayout:
    """One row of a tensor as it lies in memory.

    Attributes:
        shape: without the batch axis.
        stored: what the bytes are; uint16 for bfloat16, which NumPy lacks.
    """

    shape: tuple[int, ...]
    stored: np.dtype[np.generic]
    bfloat16: bool = False

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.stored.itemsize

    def rows(self, memory: NDArray[np.uint8], count: int) -> Array:
        """A copy of the first `count` rows [count, …] in `memory`; bfloat16 as float32."""
        raw = memory[: count * self.nbytes].view(self.stored).reshape(count, *self.shape)
        if self.bfloat16:
            return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return raw.copy()


def row_layout(spec: TensorSpec) -> RowLayout:
    """
    Raises:
        ModelLoadError: an axis beside the batch is unknown, or the type has no fixed size.
    """
    shape = spec.shape[1:]
    if any(size < 0 for size in shape) or not spec.shape:
        raise ModelLoadError(
            f"the tensor '{spec.name}' has the shape {list(spec.shape)}; on a GPU only the batch may be free",
            "export the model with fixed sizes",
        )
    if spec.datatype not in _STORED:
        raise ModelLoadError(
            f"the tensor '{spec.name}' is {spec.datatype}, which cannot be served from a GPU",
            "export the model with float or integer tensors",
        )
    return RowLayout(shape, np.dtype(_STORED[spec.datatype]), spec.datatype == "BF16")


def as_served(spec: TensorSpec) -> TensorSpec:
    """What clients see: a free batch, and float32 for bfloat16, which the wire's clients cannot read."""
    datatype = "FP32" if spec.datatype == "BF16" else spec.datatype
    return replace(spec, datatype=datatype, shape=(-1, *spec.shape[1:]))


def parts(runs: Sequence[Array], size: int) -> Iterator[list[Array]]:
    """Runs of rows [m, …] as batches of `size` rows, the last of what is left; nothing is copied."""
    part: list[Array] = []
    room = size
    for run in runs:
        start = 0
        while start < len(run):
            taken = run[start : start + room]
            part.append(taken)
            start += len(taken)
            room -= len(taken)
            if room == 0:
                yield part
                part, room = [], size
    if part:
        yield part
