"""The HTTP wire on real sockets, against answers of every kind."""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

import pytest

from beyond_serve.bench.load.error_kinds import ErrorKind
from beyond_serve.bench.load.http_connection import HttpConnection
from beyond_serve.bench.load.http_wire import HttpWire
from beyond_serve.bench.load.plan import TlsPlan, WirePlan
from tests.bench.load.scripted_server import Answer, and_close, ok, parts, reset, scripted, silence
from tests.client.test_tls import Certificate, certificate

__all__ = ["certificate"]

REQUEST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"


class End(NamedTuple):
    row: int
    received_ns: int
    status: int
    kind: int
    bytes_in: int
    body: bytes | None


class Client:
    """A wire and what it reported."""

    def __init__(self, port: int, **options: Any) -> None:
        self.ends: asyncio.Queue[End] = asyncio.Queue()
        self.left: dict[int, int] = {}
        plan = WirePlan(False, "127.0.0.1", port, "127.0.0.1", (REQUEST,), traced=True, **options)
        self.wire = HttpWire(
            plan, lambda *end: self.ends.put_nowait(End(*end)), lambda row, ns: self.left.update({row: ns})
        )

    async def ask(self, row: int = 0) -> End:
        self.wire.send(row, 0)
        return await self.end()

    async def end(self) -> End:
        return await asyncio.wait_for(self.ends.get(), 10)


async def ask_once(answer: Answer) -> End:
    async with scripted([answer]) as server:
        client = Client(server.port)
        end = await client.ask(7)
        await client.wire.close()
    return end


async def test_the_payload_arrives_as_it_is_and_the_answer_comes_back() -> None:
    async with scripted([ok(b"hello")]) as server:
        client = Client(server.port)
        before = time.monotonic_ns()
        end = await client.ask(3)
        assert (end.row, end.status, end.kind, end.body) == (3, 200, ErrorKind.NONE, b"hello")
        assert before < end.received_ns <= time.monotonic_ns()
        assert end.bytes_in == len(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        assert server.heads[0] + server.requests[0] == REQUEST
        await client.wire.close()


async def test_a_connection_is_kept() -> None:
    async with scripted([ok()]) as server:
        client = Client(server.port)
        for row in range(5):
            assert (await client.ask(row)).kind == ErrorKind.NONE
        assert server.connections == 1
        await client.wire.close()


async def test_the_pool_grows_as_it_is_needed() -> None:
    async with scripted([silence, silence, ok()]) as server:
        client = Client(server.port)
        await client.wire.open(1)
        for row in range(3):
            client.wire.send(row, 0)
        assert (await client.end()).kind == ErrorKind.NONE
        assert server.connections == 3
        await client.wire.close()


async def test_connections_are_opened_beforehand() -> None:
    async with scripted([ok()]) as server:
        client = Client(server.port)
        await client.wire.open(70)
        await asyncio.gather(*(asyncio.to_thread(int) for _ in range(3)))
        assert server.connections == 70
        await client.wire.close()


async def test_beyond_the_most_connections_requests_wait_in_the_generator() -> None:
    async with scripted([ok()]) as server:
        client = Client(server.port, max_connections=1)
        await client.wire.open(1)
        assert client.wire.send(0, 0) > 0
        assert client.wire.send(1, 0) == 0
        assert client.wire.send(2, 0) == 0
        ends = [await client.end() for _ in range(3)]
        assert [end.row for end in ends] == [0, 1, 2]
        assert client.left.keys() == {1, 2}
        assert client.left[1] >= ends[0].received_ns
        assert server.connections == 1
        await client.wire.close()


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (ok(b"a" * 300_000), b"a" * 300_000),
        (ok(b""), None),
        (parts(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"), b"x"),
        (
            parts(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
            ),
            b"abcde",
        ),
        (and_close(parts(b"HTTP/1.1 200 OK\r\n\r\nto the end")), b"to the end"),
        (and_close(parts(b"HTTP/1.0 200 OK\r\n\r\nold")), b"old"),
    ],
    ids=["large", "empty", "100-continue", "chunked", "until-close", "http-1.0"],
)
async def test_answers_of_every_form(answer: Answer, body: bytes | None) -> None:
    end = await ask_once(answer)
    assert (end.status, end.kind, end.body) == (200, ErrorKind.NONE, body)


@pytest.mark.parametrize(
    ("answer", "kind", "status"),
    [
        (
            parts(b"HTTP/1.1 429 Too Many\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\n{}"),
            ErrorKind.STATUS,
            429,
        ),
        (parts(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"), ErrorKind.STATUS, 503),
        (parts(b"SSH-2.0-OpenSSH_9.6\r\n"), ErrorKind.MALFORMED, 0),
        (parts(b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n"), ErrorKind.MALFORMED, 0),
        (and_close(parts(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")), ErrorKind.CLOSED, 0),
        (
            and_close(parts(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab")),
            ErrorKind.CLOSED,
            0,
        ),
        (and_close(parts(b"HTTP/1.1 200 OK\r\ncont")), ErrorKind.CLOSED, 0),
        (and_close(silence), ErrorKind.CLOSED, 0),
        (reset, ErrorKind.RESET, 0),
    ],
    ids=["429", "503", "ssh", "bad-length", "short", "short-chunk", "short-head", "closed", "reset"],
)
async def test_failures_of_every_kind(answer: Answer, kind: ErrorKind, status: int) -> None:
    end = await ask_once(answer)
    # An abort is an end of file, or a reset if anything was unread: the kernel's choice.
    assert end.kind == kind or (kind is ErrorKind.RESET and end.kind == ErrorKind.CLOSED)
    assert end.status == status


async def test_after_a_failure_the_next_request_has_a_new_connection() -> None:
    close = parts(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
    async with scripted([close, parts(b"garbage\r\n\r\n"), ok()]) as server:
        client = Client(server.port)
        kinds = [(await client.ask(row)).kind for row in range(3)]
        assert kinds == [ErrorKind.NONE, ErrorKind.MALFORMED, ErrorKind.NONE]
        assert server.connections == 3
        await client.wire.close()


async def test_a_connection_closed_while_idle_is_forgotten() -> None:
    async with scripted([and_close(ok()), ok()]) as server:
        client = Client(server.port)
        await client.ask(0)
        while client.wire._idle:  # noqa: ASYNC110 - turns of the loop, until the end of file is seen
            await asyncio.sleep(0)
        assert (await client.ask(1)).kind == ErrorKind.NONE
        assert server.connections == 2
        await client.wire.close()


async def test_an_answer_that_nobody_asked_for_ends_the_connection() -> None:
    async with scripted([parts(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]) as server:
        client = Client(server.port)
        await client.wire.open(1)
        (connection,) = client.wire._idle
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        assert client.wire._idle == []
        assert (await client.ask(0)).kind == ErrorKind.NONE
        await client.wire.close()


async def test_nothing_listening_is_a_refused_connection() -> None:
    async with scripted([ok()]) as server:
        port = server.port
    client = Client(port)
    await client.wire.open(3)
    assert (await client.ask(0)).kind == ErrorKind.REFUSED
    await client.wire.close()


async def test_requests_expire_whether_sent_or_waiting() -> None:
    async with scripted([silence]) as server:
        client = Client(server.port, max_connections=1, timeout_s=5.0)
        await client.wire.open(1)
        client.wire.send(0, 0)
        client.wire.send(1, 0)
        client.wire.expire(time.monotonic_ns())
        assert client.ends.empty()
        client.wire.expire(time.monotonic_ns() + 6_000_000_000)
        ends = {end.row: end.kind for end in (await client.end(), await client.end())}
        assert set(ends) == {0, 1}
        assert ends[0] == ErrorKind.TIMEOUT
        await client.wire.close()


async def test_abandoned_requests_end_once_each() -> None:
    async with scripted([silence]) as server:
        client = Client(server.port, max_connections=2)
        await client.wire.open(1)
        for row in range(4):
            client.wire.send(row, 0)
        client.wire.abandon()
        await client.wire.close()
        ends = [client.ends.get_nowait() for _ in range(client.ends.qsize())]
    assert sorted(end.row for end in ends) == [0, 1, 2, 3]
    assert {end.kind for end in ends} == {ErrorKind.UNFINISHED}


async def test_tls_with_its_authority_without_it_and_unchecked(certificate: Certificate) -> None:
    async with scripted([ok(b"secret")], tls=certificate.context) as server:
        kinds = []
        for tls in (TlsPlan(str(certificate.path), False), TlsPlan("", False), TlsPlan("", True)):
            client = Client(server.port, tls=tls)
            kinds.append((await client.ask(0)).kind)
            await client.wire.close()
    assert kinds == [ErrorKind.NONE, ErrorKind.TLS, ErrorKind.NONE]


ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


class Heard:
    """An owner of one connection."""

    keeps_bodies = True

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes | None, bool]] = []

    def answered(
        self, connection: HttpConnection, received_ns: int, status: int, body: bytes | None, *, reusable: bool
    ) -> None:
        self.answers.append((status, body, reusable))

    def failed(self, connection: HttpConnection, kind: ErrorKind) -> None:
        raise AssertionError(kind)

    def lost(self, connection: HttpConnection) -> None:
        raise AssertionError


class Sink(asyncio.Transport):
    def write(self, data: object) -> None: ...


@pytest.mark.parametrize("at", range(1, len(ANSWER)))
def test_an_answer_may_be_cut_anywhere(at: int) -> None:
    heard = Heard()
    connection = HttpConnection(heard)
    connection.connection_made(Sink())
    connection.send(1, REQUEST, 1)
    connection.data_received(ANSWER[:at])
    assert heard.answers == []
    connection.data_received(ANSWER[at:])
    assert heard.answers == [(200, b"abc", True)]
    assert connection.bytes_in == len(ANSWER)
