"""A connection over a real socket: order, persistence, time-outs, clients that leave."""

from __future__ import annotations

import asyncio
import logging

import pytest

from beyond_serve.errors import QueueFullError
from beyond_serve.server.http.exchange import Exchange, RequestHead
from beyond_serve.server.http.limits import HttpLimits
from beyond_serve.server.http.refusal import Refusal
from tests.server.http.serving import LIMITS, get, hold, post, serving


async def test_request_and_reply() -> None:
    async with serving() as running:
        client = await running.connect()
        reply = await client.ask(post(b"\0\xff image", "/predict?top_k=3"))
        assert (reply.status, reply.body) == (200, b"\0\xff image")
        assert reply.headers["content-type"] == "application/octet-stream"
        assert reply.headers["date"].endswith(" GMT")
        (exchange,) = running.seen
        assert (exchange.method, exchange.path, exchange.query) == ("POST", "/predict", {"top_k": "3"})
        assert 0 < exchange.started_ns <= exchange.received_ns


async def test_respond_returns_the_time_and_sends_given_headers() -> None:
    times: list[int] = []

    def handler(exchange: Exchange) -> None:
        times.append(exchange.respond(429, b"{}", headers=[("Retry-After", "2")]))

    async with serving(handler) as running:
        reply = await (await running.connect()).ask(get())
        assert (reply.status, reply.headers["retry-after"]) == (429, "2")
        assert times[0] >= running.seen[0].received_ns


async def test_second_answer_is_an_error() -> None:
    async with serving(hold) as running:
        client = await running.connect()
        await client.send(get())
        await running.until(lambda: len(running.seen) == 1)
        running.seen[0].respond(200, b"first")
        with pytest.raises(RuntimeError, match="answered already"):
            running.seen[0].respond(200, b"second")
        assert (await client.read_reply()).body == b"first"


async def test_header_that_would_split_the_reply_is_refused_and_the_request_can_still_be_answered() -> None:
    async with serving(hold) as running:
        client = await running.connect()
        await client.send(get())
        await running.until(lambda: len(running.seen) == 1)
        with pytest.raises(ValueError, match="control character"):
            running.seen[0].respond(200, headers=[("X", "a\r\nSet-Cookie: b")])
        running.seen[0].respond(204)
        assert (await client.read_reply()).status == 204


@pytest.mark.parametrize(
    ("version", "header", "keeps", "says"),
    [
        (b"1.1", b"", True, None),
        (b"1.1", b"Connection: close\r\n", False, "close"),
        (b"1.1", b"Connection: Foo, Close\r\n", False, "close"),
        (b"1.0", b"", False, "close"),
        (b"1.0", b"Connection: Keep-Alive\r\n", True, "keep-alive"),
    ],
)
async def test_connection_persists_as_its_client_asks(
    version: bytes, header: bytes, keeps: bool, says: str | None
) -> None:
    request = b"GET / HTTP/" + version + b"\r\nHost: a\r\n" + header + b"\r\n"
    async with serving() as running:
        client = await running.connect()
        reply = await client.ask(request)
        assert reply.headers.get("connection") == says
        if keeps:
            assert (await client.ask(request)).status == 200
        else:
            assert await client.is_closed()


async def test_nothing_behind_connection_close_is_handled() -> None:
    async with serving() as running:
        client = await running.connect()
        await client.ask(get("/", b"Connection: close\r\n") + get("/more"))
        await running.until(lambda: running.server.open_connections == 0)
        assert len(running.seen) == 1


async def test_pipelined_requests_are_handled_one_by_one_and_answered_in_order() -> None:
    async with serving(hold) as running:
        client = await running.connect()
        await client.send(b"".join(post(b"%d" % number) for number in range(40)))
        for number in range(40):
            await running.until(lambda: len(running.seen) > number)  # noqa: B023 - awaited in this turn
            assert len(running.seen) == number + 1
            running.seen[number].respond(200, running.seen[number].body)
            assert (await client.read_reply()).body == b"%d" % number
        await client.send(post(b"later"))
        await running.until(lambda: len(running.seen) == 41)


async def test_reading_stops_while_many_requests_wait() -> None:
    async with serving(hold) as running:
        client = await running.connect()
        sending = asyncio.ensure_future(client.send(get() * 400_000))
        await running.until(lambda: len(running.seen) == 1)
        for _ in range(300):
            await asyncio.sleep(0)
        # What one read brought beyond the limit is kept: uvloop and asyncio read 256 kB at most.
        assert len(running.reader().completed) <= LIMITS.max_pipelined + 262_144 // len(get())
        sending.cancel()


async def test_head_gets_the_length_without_the_body() -> None:
    async with serving(lambda exchange: exchange.respond(200, b"x" * 70_000) and None) as running:
        client = await running.connect()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + get())
        head = await client.read_reply(bodiless=True)
        assert head.headers["content-length"] == "70000"
        assert len((await client.read_reply()).body) == 70_000


async def test_large_bodies_arrive_whole_both_ways() -> None:
    body = bytes(range(256)) * 8192
    limits = HttpLimits(drain_grace_s=0)
    async with serving(limits=limits) as running:
        client = await running.connect()
        sending = asyncio.ensure_future(client.send(post(body) + post(b"next")))
        assert (await client.read_reply()).body == body
        assert (await client.read_reply()).body == b"next"
        await sending


async def test_chunked_body() -> None:
    async with serving() as running:
        client = await running.connect()
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        reply = await client.ask(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" + get())
        assert reply.body == b"abcde"
        assert (await client.read_reply()).status == 200


async def test_continue_is_sent_before_the_body_and_after_earlier_replies() -> None:
    async with serving(hold) as running:
        client = await running.connect()
        await client.send(get("/first"))
        await running.until(lambda: len(running.seen) == 1)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        await running.until(lambda: running.reader().wants_continue)
        running.seen[0].respond(200, b"first")
        assert (await client.read_reply()).body == b"first"
        assert (await client.read_head())[0] == 100
        await client.send(b"abc")
        await running.until(lambda: len(running.seen) == 2)
        running.seen[1].respond(200, running.seen[1].body)
        assert (await client.read_reply()).body == b"abc"


async def test_refused_expectation_gets_no_continue() -> None:
    async with serving(gate=lambda _head: Refusal(401, "unauthorized", "no")) as running:
        client = await running.connect()
        reply = await client.ask(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (reply.status, reply.closes) == (401, True)
        assert await client.is_closed()


async def test_refusal_before_a_large_body_reaches_a_client_that_sends_it_all_first() -> None:
    async with serving() as running:
        client = await running.connect()
        sending = asyncio.ensure_future(client.send(post(b"x" * 20_000_000)))
        reply = await client.read_reply()
        assert (reply.status, reply.closes, reply.json()["error"]["code"]) == (413, True, "payload_too_large")
        await sending
        assert await client.is_closed()
        assert running.seen == []


async def test_error_takes_the_shape_of_its_path() -> None:
    def gate(head: RequestHead) -> Refusal | None:
        return Refusal(404, "not_found", "no such path", "look elsewhere")

    async with serving(gate=gate) as running:
        client = await running.connect()
        error = {"code": "not_found", "message": "no such path", "hint": "look elsewhere"}
        assert (await client.ask(get("/x"))).json() == {"error": error}
        assert (await client.ask(get("/v2x"))).json() == {"error": error}
        assert (await client.ask(get("/v2"))).json() == {"error": "no such path; look elsewhere"}
        assert (await client.ask(get("/v2/y"))).json() == {"error": "no such path; look elsewhere"}


async def test_handler_that_raises_is_a_500_without_its_insides(caplog: pytest.LogCaptureFixture) -> None:
    def handler(exchange: Exchange) -> None:
        if exchange.path == "/bad":
            raise KeyError("secret")
        exchange.respond(200)

    async with serving(handler) as running:
        client = await running.connect()
        with caplog.at_level(logging.ERROR):
            reply = await client.ask(get("/bad"))
        assert (reply.status, reply.closes, reply.json()["error"]["code"]) == (500, False, "internal")
        assert b"secret" not in reply.body
        assert "Traceback" in caplog.text
        assert "secret" in caplog.text
        assert (await client.ask(get("/good"))).status == 200


async def test_error_that_a_handler_raises_goes_by_the_table(caplog: pytest.LogCaptureFixture) -> None:
    def handler(_exchange: Exchange) -> None:
        raise QueueFullError("full", "wait", retry_after_s=3)

    async with serving(handler) as running:
        reply = await (await running.connect()).ask(get("/v2/x"))
        assert (reply.status, reply.headers["retry-after"]) == (429, "3")
        assert reply.json() == {"error": "full; wait"}
        assert caplog.text == ""


# Clients that leave.


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_handler_hears_once_that_the_client_left(how: str) -> None:
    left: list[str] = []

    def handler(exchange: Exchange) -> None:
        exchange.on_disconnect = lambda: left.append(exchange.path)

    async with serving(handler) as running:
        client = await running.connect()
        await client.send(get("/slow"))
        await running.until(lambda: len(running.seen) == 1)
        client.close() if how == "close" else client.reset()
        await running.until(lambda: bool(left))
        running.seen[0].respond(200, b"to nobody")
        await running.until(lambda: running.server.open_connections == 0)
        assert left == ["/slow"]


async def test_disconnect_after_the_answer_is_not_reported() -> None:
    left: list[str] = []

    def handler(exchange: Exchange) -> None:
        exchange.on_disconnect = lambda: left.append(exchange.path)
        exchange.respond(200)

    async with serving(handler) as running:
        client = await running.connect()
        await client.ask(get())
        client.close()
        await running.until(lambda: running.server.open_connections == 0)
        assert left == []


async def test_client_that_only_finished_sending_gets_every_answer() -> None:
    left: list[str] = []

    def handler(exchange: Exchange) -> None:
        exchange.on_disconnect = lambda: left.append(exchange.path)

    async with serving(handler) as running:
        client = await running.connect()
        await client.send(post(b"one") + post(b"two"))
        client.half_close()
        for number in range(2):
            await running.until(lambda: len(running.seen) > number)  # noqa: B023 - awaited in this turn
            if number == 0:
                assert (await client.read_head())[0] == 100  # the sign of life; 1xx answers are skipped
                running.sweep_after(0)
            running.seen[number].respond(200, running.seen[number].body)
        first, second = await client.read_reply(), await client.read_reply()
        assert (first.body, first.closes) == (b"one", False)
        assert (second.body, second.closes) == (b"two", True)
        assert await client.is_closed()
        assert left == []


async def test_client_that_leaves_inside_a_request_is_forgotten() -> None:
    async with serving() as running:
        for partial in (b"POST /", post(b"abc")[:-1]):
            client = await running.connect()
            await client.send(partial)
            await running.until(lambda: running.server.open_connections == 1)
            client.half_close()
            assert await client.is_closed()
        assert running.seen == []
