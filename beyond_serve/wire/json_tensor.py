"""The JSON form of a tensor: `data`, flat in row-major order or nested to the tensor's shape.

Values must be what the datatype says: integers in range, no booleans for numbers, no null. Nothing
is rounded, wrapped or guessed, except that floats are rounded to the tensor's precision.
"""

from __future__ import annotations

from itertools import chain
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from beyond_serve.errors import InvalidRequestError
from beyond_serve.wire.datatypes import BYTES, TensorData, check_datatype, numpy_dtype

# Numbers that JSON text would carry only by a detour; Triton refuses them too.
BINARY_ONLY: Final = frozenset(("FP16", "BF16"))

_KINDS: Final[dict[str, tuple[frozenset[type], str]]] = {
    "b": (frozenset((bool,)), "true or false"),
    "i": (frozenset((int,)), "whole numbers"),
    "u": (frozenset((int,)), "whole numbers of 0 or more"),
    "f": (frozenset((int, float)), "numbers"),
}


def decode_json(data: object, datatype: str, shape: tuple[int, ...], what: str) -> TensorData:
    """A tensor from parsed JSON; `what` names it in errors.

    Returns:
        An array of `shape`, or the elements of a BYTES tensor, UTF-8 encoded.

    Raises:
        InvalidRequestError: anything that is not exactly such a tensor.
    """
    check_datatype(datatype, what)
    if datatype in BINARY_ONLY:
        raise InvalidRequestError(f"{what}: {datatype} has no JSON form", "send it as binary data")
    flat = _flatten(data, shape, what)
    if len(flat) != prod(shape):
        raise InvalidRequestError(
            f"{what}: {len(flat)} elements were sent, the shape {list(shape)} has {prod(shape)}",
            "let the shape and the data agree",
        )
    kinds = set(map(type, flat))
    if datatype == BYTES:
        if not kinds <= {str}:
            raise _wrong_kind(what, datatype, kinds - {str}, "strings")
        return [element.encode() for element in flat]
    return _numbers(flat, kinds, datatype, what).reshape(shape)


def encode_json(data: TensorData, what: str) -> NDArray[np.generic] | list[str]:
    """What orjson (with OPT_SERIALIZE_NUMPY) writes as the flat `data` of a tensor.

    Raises:
        InvalidRequestError: NaN, infinity or bytes that are no UTF-8, for which JSON has no words.
    """
    if isinstance(data, list):
        try:
            return [element.decode() for element in data]
        except UnicodeDecodeError as error:
            raise InvalidRequestError(
                f"{what} holds bytes that are no UTF-8", "ask for binary data"
            ) from error
    flat = np.ascontiguousarray(data).reshape(-1)
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        raise InvalidRequestError(
            f"{what} holds NaN or infinity, which JSON cannot say", "ask for binary data, or check the input"
        )
    return flat


def _flatten(data: object, shape: tuple[int, ...], what: str) -> list[Any]:
    """The elements, of a flat list or of lists nested exactly as the shape says."""
    if not isinstance(data, list):
        raise InvalidRequestError(f"{what}: 'data' is {_json_name(type(data))}", "give an array")
    level: list[Any] = data
    if not level or not isinstance(level[0], list):
        return level
    for depth, size in enumerate(shape):
        if depth == 0:
            if len(level) != size:
                raise _misshapen(what, shape)
            continue
        # Also ends the walk down a deep nest: there is no level below the shape's last.
        if set(map(type, level)) != {list} or any(len(inner) != size for inner in level):
            raise _misshapen(what, shape)
        level = list(chain.from_iterable(level))
    return level


def _numbers(flat: list[Any], kinds: set[type], datatype: str, what: str) -> NDArray[np.generic]:
    dtype = numpy_dtype(datatype)
    allowed, words = _KINDS[dtype.kind]
    if not kinds <= allowed:
        raise _wrong_kind(what, datatype, kinds - allowed, words)
    try:
        with np.errstate(over="ignore"):
            array = np.array(flat, dtype)
    except OverflowError as error:
        raise InvalidRequestError(
            f"{what}: a value is out of {datatype}'s range", f"give {words} that {datatype} can hold"
        ) from error
    # JSON has no infinity, so one can only come from a number that FP32 cannot hold.
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidRequestError(f"{what}: a value is out of {datatype}'s range", "give smaller numbers")
    return array


def _misshapen(what: str, shape: tuple[int, ...]) -> InvalidRequestError:
    return InvalidRequestError(
        f"{what}: the nested data has not the shape {list(shape)}",
        "nest it as the shape says, or send it flat",
    )


def _wrong_kind(what: str, datatype: str, kinds: set[type], words: str) -> InvalidRequestError:
    found = ", ".join(sorted(_json_name(kind) for kind in kinds))
    return InvalidRequestError(f"{what}: the {datatype} data holds {found}", f"give {words}")


def _json_name(kind: type) -> str:
    names: dict[type, str] = {
        dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null",
        int: "a whole number", float: "a fraction",
    }  # fmt: skip
    return names.get(kind, kind.__name__)
