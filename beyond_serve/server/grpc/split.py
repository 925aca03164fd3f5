"""A serialised ModelInferRequest by parts, without making protobuf's objects of it."""

from __future__ import annotations

from typing import Final, NamedTuple

# One-byte tags of length-delimited fields: (number << 3) | 2.
_ID_TAG: Final = 3 << 3 | 2
_RAW_CONTENTS_TAG: Final = 7 << 3 | 2

# A message of more fields is left to protobuf, which is slower on few of them and faster on many.
_MOST_FIELDS: Final = 64


class SplitRequest(NamedTuple):
    """`head` is the message without the id and without `blobs`, its raw contents; views, not copies."""

    head: bytes
    id: str
    blobs: list[memoryview]


def split_request(serialized: bytes) -> SplitRequest | None:
    """Cut a message at its top-level fields; None for anything that this does not understand.

    Every field of the message is length-delimited and numbered below 16, so a tag is one byte.
    """
    size = len(serialized)
    view = memoryview(serialized)
    kept = b""
    blobs: list[memoryview] = []
    request_id = ""
    at = kept_from = fields = 0
    while at < size:
        fields += 1
        tag = serialized[at]
        if tag & 7 != 2 or tag > 0x7F or fields > _MOST_FIELDS:
            return None
        length, start = _varint(serialized, at + 1, size)
        end = start + length
        if length < 0 or end > size:
            return None
        if tag == _RAW_CONTENTS_TAG:
            kept += serialized[kept_from:at]
            blobs.append(view[start:end])
            kept_from = end
        elif tag == _ID_TAG:
            kept += serialized[kept_from:at]
            try:
                request_id = serialized[start:end].decode()
            except UnicodeDecodeError:
                return None
            kept_from = end
        at = end
    return SplitRequest(kept + serialized[kept_from:], request_id, blobs)


def _varint(serialized: bytes, at: int, size: int) -> tuple[int, int]:
    """The number at `at` and where it ends; -1 if it ends early or is no length of a message."""
    value = shift = 0
    while at < size and shift < 35:
        byte = serialized[at]
        at += 1
        if byte < 0x80:
            return value | byte << shift, at
        value |= (byte & 0x7F) << shift
        shift += 7
    return -1, at
