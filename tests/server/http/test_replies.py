"""Bytes of answers."""

from __future__ import annotations

import pytest

from beyond_serve.server.http.replies import CLOSE, KEEP, KEEP_1_0, encode_headers, encode_reply

DATE = b"date: now\r\n"


def test_reply() -> None:
    assert encode_reply(200, b"abc", "text/plain", (), KEEP, DATE) == (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\ndate: now\r\n\r\nabc"
    )


def test_headers_and_connection_line() -> None:
    reply = encode_reply(503, b"", "text/plain", [("A", "b"), ("C", "dé")], CLOSE, DATE)
    assert reply.endswith(
        b"\r\ncontent-length: 0\r\ndate: now\r\nconnection: close\r\nA: b\r\nC: d\xe9\r\n\r\n"
    )
    assert b"connection: keep-alive\r\n" in encode_reply(200, b"", "text/plain", (), KEEP_1_0, DATE)


def test_body_left_out_is_still_announced() -> None:
    reply = encode_reply(200, b"abc", "text/plain", (), KEEP, DATE, omit_body=True)
    assert b"content-length: 3\r\n" in reply
    assert reply.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
def test_status_without_a_body_announces_none(status: int) -> None:
    assert b"content" not in encode_reply(status, b"ignored", "text/plain", (), KEEP, DATE).lower()[25:]


def test_unknown_status_and_no_content_type() -> None:
    assert encode_reply(299, b"", "", (), KEEP, DATE).startswith(b"HTTP/1.1 299 \r\ncontent-length: 0\r\n")


@pytest.mark.parametrize(
    "header", [("a", "b\r\nc: d"), ("a", "b\n"), ("a\r", "b"), ("a", "b\0"), ("a\n", "\r")]
)
def test_header_that_breaks_the_framing_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="control character"):
        encode_headers([header])
    with pytest.raises(ValueError, match="control character"):
        encode_reply(200, b"", "text/plain\r\nX: y", (), KEEP, DATE)
