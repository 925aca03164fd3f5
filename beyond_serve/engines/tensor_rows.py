"""Check the rows that clients preprocessed against the model's own input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.layout import fits
from beyond_serve.engines.protocol import BatchRows, TensorSpec
from beyond_serve.errors import EngineError

DTYPES: dict[str, np.dtype[np.generic]] = {
    "FP32": np.dtype(np.float32),
    "FP16": np.dtype(np.float16),
    "UINT8": np.dtype(np.uint8),
}


def stacked_tensors(batch: BatchRows, spec: TensorSpec) -> NDArray[np.generic]:
    """The batch as one array [n, …] that fits `spec`.

    Raises:
        EngineError: the batch is no tensor batch, or of another shape or dtype.
    """
    check_tensor_key(batch.key)
    rows = batch.stacked()
    check_tensor_rows(rows, spec)
    return rows


def check_tensor_key(key: object) -> None:
    """Raises EngineError: `key` is of no tensor batch."""
    if not (isinstance(key, tuple) and key[:1] == ("tensor",)):
        raise EngineError(f"the engine takes no batch of kind {key!r}")


def check_tensor_rows(rows: NDArray[np.generic], spec: TensorSpec) -> None:
    """Raises EngineError: `rows` [n, …] do not fit `spec`."""
    if not fits(rows.shape[1:], spec.shape) or rows.dtype != DTYPES[spec.datatype]:
        raise EngineError(
            f"the input '{spec.name}' takes {spec.datatype} {list(spec.shape)}, "
            f"not {rows.dtype} {list(rows.shape)}",
            "send the shape and datatype that the model's metadata names",
        )
