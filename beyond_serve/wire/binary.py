"""A body of the binary tensor extension: a JSON object, then the tensors' bytes in its order.

Source: triton-inference-server/server, docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from beyond_serve.errors import InvalidRequestError

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
"""Name of the HTTP header that says how long the JSON object is."""

OCTET_STREAM: Final = "application/octet-stream"
JSON: Final = "application/json"


def join_body(header: bytes, blobs: Iterable[bytes | memoryview]) -> bytes:
    """The whole body; `HEADER_LENGTH` must then say `len(header)`."""
    return b"".join((header, *blobs))


def parse_header_length(text: str | None, body_size: int) -> int | None:
    """Bytes of JSON at the start of the body; None if the header is absent, so all of it is.

    Raises:
        InvalidRequestError: no decimal number, or more than the body has.
    """
    if text is None:
        return None
    # Eighteen digits are beyond any body; int() of far more is slow by design of an attacker.
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidRequestError(
            f"{HEADER_LENGTH} is '{text[:40]}'", "give the size of the JSON part in bytes"
        )
    length = int(text)
    if length > body_size:
        raise InvalidRequestError(
            f"{HEADER_LENGTH} is {length}, the body has only {body_size} bytes",
            "give the size of the JSON part, before the binary data",
        )
    return length


def split_blobs(blobs: memoryview, sizes: Sequence[tuple[str, int]]) -> list[memoryview]:
    """Cut the binary part into tensors; `sizes` are (tensor's name, bytes), in order.

    Raises:
        InvalidRequestError: the sizes do not add up to what was sent.
    """
    parts: list[memoryview] = []
    at = 0
    for name, size in sizes:
        if size > len(blobs) - at:
            raise InvalidRequestError(
                f"'{name}' has a binary_data_size of {size}, the body has only {len(blobs) - at} left",
                "send all binary data after the JSON part",
            )
        parts.append(blobs[at : at + size])
        at += size
    if at != len(blobs):
        raise InvalidRequestError(
            f"{len(blobs) - at} bytes follow the last tensor's binary data",
            f"let {HEADER_LENGTH} and each binary_data_size say what is sent",
        )
    return parts
