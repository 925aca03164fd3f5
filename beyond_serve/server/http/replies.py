"""Bytes of answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

KEEP = b""
CLOSE = b"connection: close\r\n"
KEEP_1_0 = b"connection: keep-alive\r\n"

_BODILESS = frozenset((204, 304))


def encode_reply(
    status: int,
    body: bytes,
    content_type: str,
    headers: Sequence[tuple[str, str]],
    connection: bytes,
    date: bytes,
    omit_body: bool = False,
) -> bytes:
    """A whole answer.

    Args:
        connection: KEEP, CLOSE or KEEP_1_0.
        date: a whole header line.
        omit_body: announce the body's length and leave the body out, as HEAD wants it.

    Raises:
        ValueError: a header that would break the framing.
    """
    more = encode_headers(headers) if headers else b""
    if status in _BODILESS:
        return b"%b%b%b%b\r\n" % (_status_line(status), date, connection, more)
    start = _start(status, content_type)
    if omit_body:
        return b"%b%d\r\n%b%b%b\r\n" % (start, len(body), date, connection, more)
    return b"%b%d\r\n%b%b%b\r\n%b" % (start, len(body), date, connection, more, body)


def encode_headers(headers: Sequence[tuple[str, str]]) -> bytes:
    text = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers) or "\0" in text:
        raise ValueError(f"a header holds a control character: {headers!r}")
    return text.encode("latin-1", "replace")


@lru_cache(maxsize=256)
def _start(status: int, content_type: str) -> bytes:
    """Everything up to the length's digits."""
    kind = encode_headers((("content-type", content_type),)) if content_type else b""
    return b"%b%bcontent-length: " % (_status_line(status), kind)


@lru_cache(maxsize=64)
def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()
