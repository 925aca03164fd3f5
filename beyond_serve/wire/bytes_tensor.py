"""The binary form of a BYTES tensor: for each element a little-endian u32 length, then the bytes.

Source: triton-inference-server/server, docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from beyond_serve.errors import InvalidRequestError

_LENGTH = Struct("<I")
LONGEST_ELEMENT = 0xFFFFFFFF


def encode_bytes(elements: Sequence[bytes]) -> bytes:
    """The elements, each with its length before it.

    Raises:
        InvalidRequestError: an element is longer than a u32 can say.
    """
    pack = _LENGTH.pack
    parts: list[bytes] = []
    for element in elements:
        if len(element) > LONGEST_ELEMENT:
            raise InvalidRequestError(
                "an element of a BYTES tensor is longer than 4 GiB", "send less at once"
            )
        parts.append(pack(len(element)))
        parts.append(element)
    return b"".join(parts)


def decode_bytes(raw: bytes | memoryview, count: int, what: str) -> list[bytes]:
    """Exactly `count` elements, copied out of `raw`; `what` names the tensor in errors.

    Raises:
        InvalidRequestError: `raw` ends early or holds more than `count` elements.
    """
    size = len(raw)
    if 4 * count > size:
        raise InvalidRequestError(
            f"{what}: {count} BYTES elements need at least {4 * count} bytes, {size} were sent",
            "put a 4-byte little-endian length before each element",
        )
    unpack = _LENGTH.unpack_from
    elements: list[bytes] = []
    at = 0
    for index in range(count):
        if size - at < 4:
            raise _cut_off(what, index, count)
        start = at + 4
        at = start + unpack(raw, at)[0]
        if at > size:
            raise _cut_off(what, index, count)
        elements.append(bytes(raw[start:at]))
    if at != size:
        raise InvalidRequestError(
            f"{what}: {size - at} bytes follow the last of {count} BYTES elements",
            "let the shape name as many elements as are sent",
        )
    return elements


def _cut_off(what: str, index: int, count: int) -> InvalidRequestError:
    return InvalidRequestError(
        f"{what}: the data ends inside element {index + 1} of {count}",
        "put a 4-byte little-endian length before each element and send all of it",
    )
