"""ModelInferResponses at the speed of the hot path: what is the same from answer to answer is kept.

Names, datatypes and shapes of the outputs are serialised once; an answer is then that, its id and the
outputs' bytes, joined by one copy. The order of fields in a message is free.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from beyond_serve.server.grpc.codec import encode_response
from beyond_serve.wire.datatypes import TensorData
from beyond_serve.wire.oip import InferResponse
from beyond_serve.wire.raw_tensor import encode_raw

# What bytes.join takes; its annotation leaves arrays out, which are buffers all the same.
Buffer = Any

_ID_TAG: Final = bytes([3 << 3 | 2])
_RAW_CONTENTS_TAG: Final = bytes([6 << 3 | 2])

# Byte order and kind of dtypes whose arrays are buffers in the wire's own form.
_PLAIN: Final = frozenset(("<f", "<i", "<u", "|i", "|u", "|b"))

_ONE_BYTE: Final = [bytes([value]) for value in range(0x80)]

# An invented number: an entry per model and number of rows, some hundred bytes each.
_MOST_HEADS: Final = 256


class ResponseWriter:
    """Serialises answers. State: the heads that were written; owned by the event loop."""

    def __init__(self) -> None:
        self._heads: dict[Hashable, bytes] = {}

    def write(self, response: InferResponse) -> bytes:
        """The serialised ModelInferResponse: what `encode_response(response)` says, only faster."""
        if response.parameters:
            return bytes(encode_response(response).SerializeToString())
        blobs: list[Buffer] = []
        key: list[Hashable] = [response.model, response.version]
        for output in response.outputs:
            if output.parameters:
                return bytes(encode_response(response).SerializeToString())
            key += (output.name, output.datatype, output.shape)
            if output.data is not None:
                size, raw = _raw(output.data)
                blobs += (_RAW_CONTENTS_TAG, _varint(size), raw)
        parts: list[Buffer] = [self._head(tuple(key), response)]
        if response.id:
            request_id = response.id.encode()
            parts += (_ID_TAG, _varint(len(request_id)), request_id)
        return b"".join([*parts, *blobs])

    def _head(self, key: Hashable, response: InferResponse) -> bytes:
        head = self._heads.get(key)
        if head is not None:
            return head
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
        bare = tuple(replace(output, data=None) for output in response.outputs)
        head = bytes(encode_response(replace(response, id="", outputs=bare)).SerializeToString())
        self._heads[key] = head
        return head


def _raw(data: TensorData) -> tuple[int, Buffer]:
    """Size and bytes of the tensor's binary form: the array itself where it already lies so."""
    if isinstance(data, np.ndarray) and data.dtype.str[:2] in _PLAIN and data.flags.c_contiguous:
        return data.nbytes, data
    raw = encode_raw(data)
    return len(raw), raw


def _varint(value: int) -> bytes:
    """A length as protobuf writes it."""
    if value < 0x80:
        return _ONE_BYTE[value]
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
