"""The binary form of any tensor: little-endian, row-major, without padding."""

from __future__ import annotations

from math import prod

import numpy as np

from beyond_serve.errors import InvalidRequestError
from beyond_serve.wire.bytes_tensor import decode_bytes, encode_bytes
from beyond_serve.wire.datatypes import BYTES, TensorData, numpy_dtype


def decode_raw(raw: bytes | memoryview, datatype: str, shape: tuple[int, ...], what: str) -> TensorData:
    """A tensor from its binary form; `what` names it in errors.

    Returns:
        An array of `shape` that may be a read-only view of `raw`, or the elements of a BYTES tensor.

    Raises:
        InvalidRequestError: unknown datatype, a negative size in the shape, or as many bytes as the
            shape does not have.
    """
    if shape and min(shape) < 0:
        raise InvalidRequestError(f"{what} has the shape {list(shape)}", "give sizes of 0 or more")
    count = prod(shape)
    if datatype == BYTES:
        return decode_bytes(raw, count, what)
    dtype = numpy_dtype(datatype)
    if count * dtype.itemsize != len(raw):
        raise InvalidRequestError(
            f"{what}: {datatype} {list(shape)} takes {count * dtype.itemsize} bytes, {len(raw)} were sent",
            "send the tensor little-endian and row-major",
        )
    if datatype == "BOOL" and count and np.frombuffer(raw, np.uint8).max() > 1:
        raise InvalidRequestError(
            f"{what}: a BOOL element is neither 0 nor 1", "send one byte per element, 0 or 1"
        )
    # A tensor behind JSON may start at any byte; engines may rely on aligned elements.
    array = np.require(np.frombuffer(raw, dtype), requirements="A")
    return array.reshape(shape)


def encode_raw(data: TensorData) -> bytes | memoryview:
    """The binary form of a tensor; a view of it where it already lies so."""
    if isinstance(data, list):
        return encode_bytes(data)
    if data.dtype.byteorder == ">":
        data = data.astype(data.dtype.newbyteorder("<"))
    if not data.flags.c_contiguous:
        return data.tobytes()
    return data.reshape(-1).view(np.uint8).data


def raw_size(data: TensorData) -> int:
    """Bytes of the tensor's binary form."""
    if isinstance(data, list):
        return 4 * len(data) + sum(map(len, data))
    return data.nbytes
