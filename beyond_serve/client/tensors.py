"""From the arrays of a call to the protocol's request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.errors import InvalidRequestError
from beyond_serve.wire.datatypes import BYTES, datatype_of
from beyond_serve.wire.oip import InferInput, InferRequest, RequestedOutput

Tensor = NDArray[Any] | Sequence[bytes]
"""An array with the batch axis first, or the elements of a BYTES tensor of shape [n]."""


def infer_request(
    model: str,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str] | None,
    timeout_ms: float | None,
    priority: int | None,
) -> InferRequest:
    """The request that both transports encode; `outputs` None asks for all.

    Raises:
        InvalidRequestError: no input, or an array that the protocol has no datatype for.
        TypeError: an input that is neither an array nor a list of bytes.
    """
    if not inputs:
        raise InvalidRequestError("infer() was given no input", "pass {'input name': array}")
    return InferRequest(
        model=model,
        version="",
        id="",
        inputs=tuple(_input(name, value) for name, value in inputs.items()),
        outputs=tuple(RequestedOutput(name) for name in outputs or ()),
        parameters=call_parameters(timeout_ms, priority),
    )


def call_parameters(timeout_ms: float | None, priority: int | None) -> dict[str, int]:
    """The protocol's parameters: `timeout` in microseconds, `priority` with 1 the highest."""
    parameters = {}
    if timeout_ms is not None:
        parameters["timeout"] = max(1, round(timeout_ms * 1000))
    if priority is not None:
        parameters["priority"] = priority
    return parameters


def _input(name: str, value: Tensor) -> InferInput:
    if isinstance(value, np.ndarray):
        return _array_input(name, value)
    if isinstance(value, list | tuple) and all(isinstance(element, bytes) for element in value):
        return InferInput(name, BYTES, (len(value),), list(value))
    raise TypeError(f"input '{name}' is neither a NumPy array nor a list of bytes")


def _array_input(name: str, array: NDArray[Any]) -> InferInput:
    if array.dtype.kind == "S":
        raise InvalidRequestError(
            f"input '{name}' is an array of {array.dtype}, which loses zero bytes at the ends of elements",
            "pass a list of bytes, or an array of dtype object",
        )
    if array.dtype == np.object_:
        elements = array.reshape(-1).tolist()
        if not all(isinstance(element, bytes) for element in elements):
            raise TypeError(f"input '{name}' is an array of objects that are not all bytes")
        return InferInput(name, BYTES, array.shape, elements)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return InferInput(name, datatype_of(array), array.shape, array)
