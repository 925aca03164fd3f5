from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.errors import InvalidRequestError
from beyond_serve.wire.datatypes import NUMPY_DTYPES, check_datatype, datatype_of, numpy_dtype

SIZES = {
    "BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2, "INT32": 4,
    "INT64": 8, "FP16": 2, "BF16": 2, "FP32": 4, "FP64": 8,
}  # fmt: skip


def test_elements_have_the_protocols_sizes() -> None:
    assert {name: dtype.itemsize for name, dtype in NUMPY_DTYPES.items()} == SIZES


@pytest.mark.parametrize("datatype", sorted(SIZES.keys() - {"BF16"}))
def test_an_array_is_named_as_it_was_made(datatype: str) -> None:
    assert datatype_of(np.zeros(1, numpy_dtype(datatype))) == datatype


def test_a_bfloat16_array_is_named_bf16() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert datatype_of(np.zeros(1, ml_dtypes.bfloat16)) == "BF16"


def test_what_the_protocol_does_not_know_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="complex64"):
        datatype_of(np.zeros(1, np.complex64))
    with pytest.raises(InvalidRequestError, match="'FP8'"):
        numpy_dtype("FP8")
    with pytest.raises(InvalidRequestError, match="'BYTES'"):
        numpy_dtype("BYTES")
    with pytest.raises(InvalidRequestError, match="input 'x' has the unknown datatype 'float32'"):
        check_datatype("float32", "input 'x'")
    check_datatype("BYTES", "input 'x'")
