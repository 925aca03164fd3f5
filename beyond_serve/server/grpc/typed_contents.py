"""Tensors that come as protobuf's own numbers instead of raw bytes.

Source: InferTensorContents of the Open Inference Protocol: INT8 and INT16 share the field of INT32,
UINT8 and UINT16 that of UINT32; FP16 and BF16 have none.
"""

from __future__ import annotations

from math import prod
from typing import Any, Final

import numpy as np

from beyond_serve.errors import InvalidRequestError
from beyond_serve.wire.datatypes import BYTES, TensorData, check_datatype, numpy_dtype

_FIELDS: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
# Datatypes that are narrower than the field that carries them.
_NARROW: Final = {"INT8": "i4", "INT16": "i4", "UINT8": "u4", "UINT16": "u4"}


def read_contents(contents: Any, datatype: str, shape: tuple[int, ...], what: str) -> TensorData:
    """The tensor in an InferTensorContents; `what` names it in errors.

    Raises:
        InvalidRequestError: another field than the datatype's is filled, the count is not the
            shape's, a number does not fit the datatype, or the datatype only goes raw.
    """
    check_datatype(datatype, what)
    field = _FIELDS.get(datatype)
    if field is None:
        raise InvalidRequestError(
            f"{what}: {datatype} has no typed contents", "send it in raw_input_contents"
        )
    for other, _ in contents.ListFields():
        if other.name != field:
            raise InvalidRequestError(
                f"{what}: the datatype is {datatype} and {other.name} is filled", f"fill {field}"
            )
    if shape and min(shape) < 0:
        raise InvalidRequestError(f"{what} has the shape {list(shape)}", "give sizes of 0 or more")
    values = getattr(contents, field)
    if len(values) != prod(shape):
        raise InvalidRequestError(
            f"{what}: the shape {list(shape)} has {prod(shape)} elements, {field} has {len(values)}",
            "send as many elements as the shape has",
        )
    if datatype == BYTES:
        return list(values)
    return _array(values, datatype, what).reshape(shape)


def _array(values: Any, datatype: str, what: str) -> np.ndarray[Any, np.dtype[Any]]:
    dtype = numpy_dtype(datatype)
    wide = np.fromiter(values, _NARROW.get(datatype, dtype), len(values))
    if datatype not in _NARROW:
        return wide
    array = wide.astype(dtype)
    if not np.array_equal(array, wide):
        raise InvalidRequestError(
            f"{what}: a number does not fit {datatype}",
            f"keep to {np.iinfo(dtype).min} … {np.iinfo(dtype).max}",
        )
    return array
