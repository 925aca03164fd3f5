"""The Open Inference Protocol's datatypes and NumPy's.

Elements are little-endian on the wire. BF16, which NumPy lacks, travels as its bit patterns in
uint16, so that nothing depends on a package for it; an array of ml_dtypes' bfloat16 is recognised.
BYTES has no NumPy dtype here: its elements are a list of `bytes` in row-major order.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from beyond_serve.errors import InvalidRequestError

BYTES: Final = "BYTES"

TensorData = NDArray[np.generic] | list[bytes]
"""An array of the tensor's shape, or the elements of a BYTES tensor in row-major order."""

NUMPY_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}

DATATYPES: Final = frozenset((*NUMPY_DTYPES, BYTES))

_NAMES: Final = {dtype: name for name, dtype in NUMPY_DTYPES.items() if name != "BF16"}


def numpy_dtype(datatype: str) -> np.dtype[Any]:
    """The dtype of an array that holds `datatype`.

    Raises:
        InvalidRequestError: unknown to the protocol, or BYTES.
    """
    dtype = NUMPY_DTYPES.get(datatype)
    if dtype is None:
        raise InvalidRequestError(
            f"'{datatype}' is no numeric datatype", f"the protocol knows {', '.join(NUMPY_DTYPES)}"
        )
    return dtype


def datatype_of(array: NDArray[np.generic]) -> str:
    """The protocol's name of an array's dtype.

    Raises:
        InvalidRequestError: the protocol has none.
    """
    name = _NAMES.get(array.dtype)
    if name is None and array.dtype.name == "bfloat16":
        return "BF16"
    if name is None:
        raise InvalidRequestError(
            f"an array of {array.dtype} has no datatype in the protocol",
            f"convert it to one of {', '.join(NUMPY_DTYPES)}",
        )
    return name


def check_datatype(datatype: str, what: str) -> None:
    """Refuse a word that is no datatype; `what` names the tensor.

    Raises:
        InvalidRequestError: unknown to the protocol.
    """
    if datatype not in DATATYPES:
        raise InvalidRequestError(
            f"{what} has the unknown datatype '{datatype}'", f"known: {', '.join(sorted(DATATYPES))}"
        )
