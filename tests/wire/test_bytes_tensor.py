from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.errors import InvalidRequestError
from beyond_serve.wire.bytes_tensor import decode_bytes, encode_bytes

elements = st.lists(st.binary(max_size=40), max_size=8)


@settings(max_examples=40)
@given(elements)
def test_round_trip(values: list[bytes]) -> None:
    raw = encode_bytes(values)
    assert decode_bytes(raw, len(values), "t") == values
    assert decode_bytes(memoryview(b"x" + raw)[1:], len(values), "t") == values


def test_the_wire_form_is_tritons() -> None:
    assert encode_bytes([b"ab", b""]) == b"\x02\0\0\0ab\0\0\0\0"


@settings(max_examples=40)
@given(elements.filter(bool), st.data())
def test_truncated_data_is_refused(values: list[bytes], data: st.DataObject) -> None:
    raw = encode_bytes(values)
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(InvalidRequestError, match="tensor t"):
        decode_bytes(raw[:cut], len(values), "tensor t")


@settings(max_examples=40)
@given(elements, st.binary(min_size=1, max_size=20))
def test_trailing_bytes_are_refused(values: list[bytes], more: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="follow the last"):
        decode_bytes(encode_bytes(values) + more, len(values), "t")


@settings(max_examples=40)
@given(st.binary(max_size=60), st.integers(0, 12))
def test_any_bytes_decode_or_are_refused(raw: bytes, count: int) -> None:
    try:
        values = decode_bytes(raw, count, "t")
    except InvalidRequestError:
        return
    assert encode_bytes(values) == raw


def test_a_count_beyond_the_data_costs_nothing() -> None:
    with pytest.raises(InvalidRequestError, match="need at least"):
        decode_bytes(b"\0\0\0\0", 10**15, "t")
