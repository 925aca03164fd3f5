"""gzip and deflate of HTTP bodies (RFC 9110, 8.4.1)."""

from __future__ import annotations

import zlib
from typing import Final

from beyond_serve.errors import InvalidRequestError, PayloadTooLargeError

# zlib's window bits: 31 is the gzip format, 15 the zlib format, which HTTP calls "deflate".
_WINDOWS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}

# Level 1: what is saved beyond it is not worth the time while a client waits.
_LEVEL: Final = 1

# Smaller answers cost more to compress than to send, and tensors of floats hardly shrink at all.
COMPRESS_JSON_FROM: Final = 1024
COMPRESS_BINARY_FROM: Final = 16 * 1024


def request_coding(header: str | None) -> str | None:
    """The one coding of a request's body, or None.

    Raises:
        InvalidRequestError: another one than gzip or deflate, or several.
    """
    if not header:
        return None
    coding = header.strip().lower()
    if coding == "identity":
        return None
    if coding not in _WINDOWS:
        raise InvalidRequestError(
            f"Content-Encoding '{header[:40]}' is not served", "use gzip, deflate or none"
        )
    return coding


def decompress(body: bytes, coding: str, limit: int) -> bytes:
    """The body decoded; no more than `limit` bytes are ever made.

    Raises:
        InvalidRequestError: damaged, cut off, or followed by something else.
        PayloadTooLargeError: it decodes to more than `limit` bytes.
    """
    parts: list[bytes] = []
    made = 0
    rest = body
    while True:
        stream = zlib.decompressobj(_WINDOWS[coding])
        try:
            part = stream.decompress(rest, limit - made + 1)
        except zlib.error as error:
            raise InvalidRequestError(
                f"the body is no valid {coding} data", "compress it again, or drop Content-Encoding"
            ) from error
        made += len(part)
        if made > limit:
            raise PayloadTooLargeError(
                f"the {coding} body decodes to more than {limit} bytes", "send less, or raise --max-body-mb"
            )
        if not stream.eof:
            raise InvalidRequestError(f"the {coding} body is cut off", "send all of it")
        parts.append(part)
        rest = stream.unused_data
        if not rest:
            return parts[0] if len(parts) == 1 else b"".join(parts)
        if coding == "deflate":
            raise InvalidRequestError(
                "something follows the deflate body", "compress the whole body as one stream"
            )


def accepted_coding(header: str | None) -> str | None:
    """The better of gzip and deflate that an Accept-Encoding header allows, or None."""
    if not header:
        return None
    weights: dict[str, float] = {}
    for entry in header.lower().split(","):
        name, _, parameter = entry.partition(";")
        weights[name.strip()] = _weight(parameter)
    best = max(("gzip", "deflate"), key=lambda coding: weights.get(coding, weights.get("*", 0.0)))
    return best if weights.get(best, weights.get("*", 0.0)) > 0 else None


def _weight(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def compress(body: bytes, coding: str) -> bytes:
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOWS[coding])
    return stream.compress(body) + stream.flush()
