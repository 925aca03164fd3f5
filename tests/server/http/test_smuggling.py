"""Shapes by which two parsers can be made to disagree about where a request ends, as raw bytes.

Most are refused by llhttp, the rest by head.py; which of them does is not what matters. What llhttp
reads more generously than RFC 9112 asks, without ambiguity about framing, is pinned at the end.
"""

from __future__ import annotations

import pytest

from tests.server.http.serving import get, post, serving

HOST = b"Host: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def length(value: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + value + b"\r\n\r\nabc"


def coding(value: bytes, version: bytes = b"1.1") -> bytes:
    return b"POST / HTTP/" + version + b"\r\n" + HOST + b"Transfer-Encoding:" + value + b"\r\n\r\n0\r\n\r\n"


REFUSED = {
    "two lengths": length(b"3\r\nContent-Length: 4"),
    "two equal lengths": length(b"3\r\nContent-Length: 3"),
    "a list of lengths": length(b"3, 3"),
    "negative length": length(b"-3"),
    "length with a plus": length(b"+3"),
    "empty length": length(b""),
    "hexadecimal length": length(b"0x3"),
    "length with a gap": length(b"1 0"),
    "length with an underscore": length(b"1_0"),
    "length beyond 64 bits": length(b"99999999999999999999999"),
    "length, then chunked": length(b"3\r\nTransfer-Encoding: chunked"),
    "chunked, then length": coding(b" chunked\r\nContent-Length: 3"),
    "chunked not last": coding(b" chunked, gzip"),
    "chunked twice": coding(b" chunked\r\nTransfer-Encoding: chunked"),
    "empty coding": coding(b""),
    "coding behind a vertical tab": coding(b" \x0bchunked"),
    "chunked in HTTP/1.0": coding(b" chunked", b"1.0"),
    "bare LF everywhere": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare LF after the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF in the headers": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "bare LF ends the head": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "bare CR in a value": b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "CR CR LF": b"GET / HTTP/1.1\r\nHost: a\r\r\nX: b\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "folded by a tab": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n",
    "folded empty value": b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\n b\r\n\r\n",
    "space before the first header": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "header without a name": b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "header without a colon": b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "NUL in a name": b"GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n",
    "control character in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n",
    "DEL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "two Hosts in HTTP/1.0": b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "Host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "Host with a user": b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "list of Hosts": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "unknown method": b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
    "method in small letters": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "method with junk": b"GE@T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "target with a space": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "target with NUL": b"GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n",
    "target beyond ASCII": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "target without a slash": b"GET foo HTTP/1.1\r\nHost: a\r\n\r\n",
    "target with a fragment": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk for GET": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "unknown scheme": b"GET ftp://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS on the plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "chunk size with junk": CHUNKED + b"3g\r\nabc\r\n0\r\n\r\n",
    "chunk size with a prefix": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "chunk size with a plus": CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n",
    "negative chunk size": CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
    "chunk size with a space": CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
    "no chunk size": CHUNKED + b"\r\nabc\r\n0\r\n\r\n",
    "chunk size beyond 64 bits": CHUNKED + b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "bare LF after the chunk size": CHUNKED + b"3\nabc\r\n0\r\n\r\n",
    "bare LF in a chunk extension": CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"3\r\nabcXX0\r\n\r\n",
    "chunk without its end": CHUNKED + b"3\r\nabc0\r\n\r\n",
    "length in a trailer": CHUNKED + b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n",
    "coding in a trailer": CHUNKED + b"3\r\nabc\r\n0\r\nTransfer-Encoding: x\r\n\r\n",
}

OTHER_STATUS = {
    "coding that only ends in chunked": (501, coding(b" xchunked")),
    "identity coding": (501, coding(b" identity")),
    "gzip alone": (501, coding(b" gzip")),
    "gzip before chunked": (501, coding(b" gzip, chunked")),
    "CONNECT": (501, b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "HTTP/2.0 without a preface": (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    "HTTP/0.9": (505, b"GET /\r\n\r\n"),
    "unknown expectation": (417, post(b"abc", more=b"Expect: tea\r\n")),
}


@pytest.mark.parametrize("shape", REFUSED.values(), ids=REFUSED.keys())
async def test_ambiguous_request_is_refused_and_nothing_behind_it_read(shape: bytes) -> None:
    await expect_refusal(400, shape)


@pytest.mark.parametrize(("status", "shape"), OTHER_STATUS.values(), ids=OTHER_STATUS.keys())
async def test_request_beyond_this_server_is_refused_and_nothing_behind_it_read(
    status: int, shape: bytes
) -> None:
    await expect_refusal(status, shape)


async def expect_refusal(status: int, shape: bytes) -> None:
    async with serving() as running:
        client = await running.connect()
        reply = await client.ask(shape + get("/smuggled"))
        assert reply.status == status
        assert reply.closes
        assert set(reply.json()["error"]) >= {"code", "message"}
        assert await client.is_closed()
        assert running.seen == []


@pytest.mark.parametrize("cut", range(1, 60, 7))
async def test_refusal_does_not_depend_on_how_the_bytes_arrive(cut: int) -> None:
    shape = REFUSED["length, then chunked"]
    async with serving() as running:
        client = await running.connect()
        await client.send(shape[:cut])
        reply = await client.ask(shape[cut:])
        assert reply.status == 400
        assert await client.is_closed()
        assert running.seen == []


async def test_request_before_a_bad_one_is_answered_first() -> None:
    async with serving() as running:
        client = await running.connect()
        first = await client.ask(post(b"one") + REFUSED["space before the colon"])
        assert (first.status, first.body) == (200, b"one")
        assert (await client.read_reply()).status == 400
        assert await client.is_closed()


TOLERATED = {
    "empty lines before the request": (b"\r\n\r\n" + get("/"), "/"),
    "two spaces in the request line": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "/"),
    "chunk extension": (CHUNKED + b"3;a=b\r\nabc\r\n0\r\n\r\n", "/"),
    "trailer": (CHUNKED + b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", "/"),
    "coding in capitals": (coding(b" CHUNKED"), "/"),
    "tabs around the length": (length(b"\t3\t "), "/"),
    "bytes beyond ASCII in a value": (get("/", b"X: \xff\xe9\r\n"), "/"),
    "empty value": (get("/", b"X:\r\n"), "/"),
    "empty Host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", "/"),
    "no Host in HTTP/1.0": (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "/"),
    "target with scheme and host": (b"GET http://x/foo?a=1 HTTP/1.1\r\nHost: a\r\n\r\n", "/foo"),
    "asterisk for OPTIONS": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*"),
    "another protocol's name": (b"GET / RTSP/1.0\r\nConnection: keep-alive\r\n\r\n", "/"),
}


@pytest.mark.parametrize(("shape", "path"), TOLERATED.values(), ids=TOLERATED.keys())
async def test_unusual_request_is_read_and_the_next_one_found(shape: bytes, path: str) -> None:
    async with serving() as running:
        client = await running.connect()
        assert (await client.ask(shape)).status == 200
        assert (await client.ask(get("/next"))).status == 200
        assert [exchange.path for exchange in running.seen] == [path, "/next"]


async def test_trailers_are_not_headers() -> None:
    async with serving() as running:
        client = await running.connect()
        await client.ask(CHUNKED + b"3\r\nabc\r\n0\r\nAuthorization: Bearer x\r\nHost: b\r\n\r\n")
        assert dict(running.seen[0].headers) == {"host": "a", "transfer-encoding": "chunked"}
