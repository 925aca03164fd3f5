from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.errors import InvalidRequestError
from beyond_serve.wire.datatypes import DATATYPES, NUMPY_DTYPES
from beyond_serve.wire.json_tensor import decode_json, encode_json

INTEGERS = [name for name in NUMPY_DTYPES if NUMPY_DTYPES[name].kind in "iu" and name != "BF16"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=8,
)


def text(array: object) -> object:
    return orjson.loads(orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY))


@pytest.mark.parametrize("datatype", INTEGERS)
def test_integers_keep_their_range(datatype: str) -> None:
    limits = np.iinfo(NUMPY_DTYPES[datatype])
    array = decode_json([int(limits.min), int(limits.max)], datatype, (2,), "t")
    assert isinstance(array, np.ndarray)
    assert array.tolist() == [limits.min, limits.max]
    assert text(encode_json(array, "t")) == [limits.min, limits.max]
    for value in (int(limits.min) - 1, int(limits.max) + 1):
        # orjson reads what is beyond 64 bits as a float.
        with pytest.raises(InvalidRequestError, match=r"out of .* range|a fraction"):
            decode_json([orjson.loads(str(value))], datatype, (1,), "t")


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_floats_survive_exactly(datatype: str) -> None:
    array = np.array([0.1, -3.5e-38, 1 / 3, 7], NUMPY_DTYPES[datatype])
    decoded = decode_json(text(encode_json(array, "t")), datatype, (4,), "t")
    np.testing.assert_array_equal(decoded, array)


@pytest.mark.parametrize(
    ("datatype", "data", "said"),
    [
        ("INT32", [1.0], "a fraction"),
        ("INT32", [True], "a boolean"),
        ("INT32", [None], "null"),
        ("INT32", ["1"], "a string"),
        ("UINT8", [-1], "range"),
        ("UINT8", [256], "range"),
        ("FP32", [True], "a boolean"),
        ("FP32", [None], "null"),
        ("FP32", [1e39], "range"),
        ("BOOL", [1], "a whole number"),
        ("BYTES", [1], "a whole number"),
        ("BYTES", [None], "null"),
        ("FP16", [1.0], "no JSON form"),
        ("BF16", [1.0], "no JSON form"),
        ("FP8", [1.0], "unknown datatype"),
        ("INT32", 1, "'data' is a whole number"),
        ("INT32", None, "'data' is null"),
        ("INT32", {"a": 1}, "'data' is an object"),
        ("INT32", [], "0 elements"),
        ("INT32", [1, 2], "2 elements"),
        ("INT32", [[1]], "an array"),
        ("INT32", [{}], "an object"),
    ],
)
def test_what_is_no_such_tensor_is_refused(datatype: str, data: object, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said) as caught:
        decode_json(data, datatype, (1,), "input 'x'")
    assert caught.value.message.startswith("input 'x'")


def test_flat_and_nested_data_mean_the_same() -> None:
    for data in ([1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]):
        array = decode_json(data, "INT8", (2, 3), "t")
        np.testing.assert_array_equal(array, np.array([[1, 2, 3], [4, 5, 6]], np.int8))
    assert decode_json([["a"], ["ü"]], "BYTES", (2, 1), "t") == [b"a", "ü".encode()]


@pytest.mark.parametrize(
    "data", [[[1, 2], [3]], [[1, 2], 3], [[1, 2, 3], [4, 5, 6]], [[[1], [2]], [[3], [4]]], [[1, 2]]]
)
def test_nested_data_must_have_the_shape(data: object) -> None:
    with pytest.raises(InvalidRequestError):
        decode_json(data, "INT32", (2, 2), "t")


def test_a_deep_nest_is_refused_without_following_it() -> None:
    with pytest.raises(InvalidRequestError):
        decode_json(orjson.loads("[" * 900 + "1" + "]" * 900), "INT32", (1,), "t")


@settings(max_examples=40)
@given(st.sampled_from(sorted(DATATYPES)), st.lists(st.integers(0, 3), max_size=3).map(tuple), json_values)
def test_any_json_decodes_or_is_refused(datatype: str, shape: tuple[int, ...], data: object) -> None:
    try:
        decoded = decode_json(data, datatype, shape, "t")
    except InvalidRequestError:
        return
    assert len(decoded) == np.prod(shape) if isinstance(decoded, list) else decoded.shape == shape


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_no_json(value: float) -> None:
    with pytest.raises(InvalidRequestError, match="output 'y' holds NaN or infinity"):
        encode_json(np.array([1, value], np.float32), "output 'y'")


def test_bytes_that_are_no_utf_8_are_no_json() -> None:
    assert encode_json(["ü".encode()], "t") == ["ü"]
    with pytest.raises(InvalidRequestError, match="no UTF-8"):
        encode_json([b"\xff\xd8"], "t")


def test_an_array_is_written_flat_in_row_major_order() -> None:
    array = np.arange(6, dtype=np.int64).reshape(2, 3).T
    assert text(encode_json(array, "t")) == [0, 3, 1, 4, 2, 5]
