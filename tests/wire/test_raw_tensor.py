from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.errors import InvalidRequestError
from beyond_serve.wire.datatypes import NUMPY_DTYPES
from beyond_serve.wire.raw_tensor import decode_raw, encode_raw, raw_size

shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@settings(max_examples=40)
@given(st.sampled_from(sorted(NUMPY_DTYPES)), shapes, st.integers(0, 3))
def test_round_trip_at_any_offset(datatype: str, shape: tuple[int, ...], offset: int) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(NUMPY_DTYPES[datatype])
    raw = bytes(encode_raw(array))
    assert raw_size(array) == len(raw)
    decoded = decode_raw(memoryview(bytes(offset) + raw)[offset:], datatype, shape, "t")
    assert isinstance(decoded, np.ndarray)
    assert decoded.dtype == array.dtype
    assert decoded.flags.aligned
    np.testing.assert_array_equal(decoded, array)


def test_bytes_round_trip() -> None:
    raw = encode_raw([b"a", b"bc"])
    assert raw_size([b"a", b"bc"]) == len(raw)
    assert decode_raw(raw, "BYTES", (2, 1), "t") == [b"a", b"bc"]


def test_what_lies_otherwise_is_put_in_order() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert bytes(encode_raw(array.T)) == np.ascontiguousarray(array.T).tobytes()
    assert bytes(encode_raw(array.astype(">f4"))) == array.tobytes()


@settings(max_examples=40)
@given(st.sampled_from(sorted((*NUMPY_DTYPES, "BYTES"))), shapes, st.binary(max_size=70))
def test_any_bytes_decode_or_are_refused(datatype: str, shape: tuple[int, ...], raw: bytes) -> None:
    try:
        decoded = decode_raw(raw, datatype, shape, "t")
    except InvalidRequestError:
        return
    assert bytes(encode_raw(decoded)) == raw


def test_sizes_that_disagree_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"input 'x': FP32 \[2\] takes 8 bytes, 7 were sent"):
        decode_raw(bytes(7), "FP32", (2,), "input 'x'")
    with pytest.raises(InvalidRequestError, match=r"\[2, -1\]"):
        decode_raw(bytes(8), "FP32", (2, -1), "t")
    with pytest.raises(InvalidRequestError, match="were sent"):
        decode_raw(b"", "FP64", (2**62, 2**62), "t")


def test_a_bool_is_0_or_1() -> None:
    with pytest.raises(InvalidRequestError, match="neither 0 nor 1"):
        decode_raw(b"\0\2", "BOOL", (2,), "t")
