"""Listening, the limit on connections, draining."""

from __future__ import annotations

import asyncio
import socket

import pytest

from beyond_serve.errors import ConfigError
from beyond_serve.server.http.admission import SLACK, Admission, admission
from beyond_serve.server.http.exchange import Exchange
from beyond_serve.server.http.limits import HttpLimits
from beyond_serve.server.http.server import create_http_server
from tests.server.http.serving import echo, get, post, serving


def hold(_exchange: Exchange) -> None:
    """Answer later: the test does."""


def in_seconds(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def test_admission_tells_some_and_drops_the_rest() -> None:
    assert admission(9, 10) is Admission.ADMITTED
    assert admission(10, 10) is Admission.REFUSED
    assert admission(10 + SLACK - 1, 10) is Admission.REFUSED
    assert admission(10 + SLACK, 10) is Admission.DROPPED


async def test_connection_over_the_limit_is_answered_503_and_closed() -> None:
    async with serving(limits=HttpLimits(max_connections=1, drain_grace_s=0)) as running:
        first = await running.connect()
        await first.ask(get())
        second = await running.connect()
        reply = await second.ask(get())
        assert (reply.status, reply.closes, reply.json()["error"]["code"]) == (
            503,
            True,
            "too_many_connections",
        )
        assert await second.is_closed()
        assert (await first.ask(get())).status == 200
        second.close()
        first.close()
        await running.until(lambda: running.server.open_connections == 0)
        assert (await (await running.connect()).ask(get())).status == 200


async def test_connections_far_over_the_limit_are_dropped() -> None:
    async with serving(limits=HttpLimits(max_connections=1, drain_grace_s=0)) as running:
        held = [await running.connect() for _ in range(1 + SLACK)]
        await running.until(lambda: running.server.open_connections == len(held))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await (await running.connect()).ask(get())


async def test_port_in_use_is_one_clear_error() -> None:
    async with serving() as running:
        with pytest.raises(
            ConfigError, match=f"cannot listen on 127.0.0.1:{running.server.port}: Address already"
        ):
            await create_http_server(
                asyncio.get_running_loop(), echo, HttpLimits(), "127.0.0.1", running.server.port
            )


async def test_foreign_address_and_unknown_host_are_clear_errors() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:0"):
        await create_http_server(loop, echo, HttpLimits(), "192.0.2.1", 0)
    with pytest.raises(ConfigError, match=r"unknown host 'no\.\.host'"):
        await create_http_server(loop, echo, HttpLimits(), "no..host", 0)


async def test_host_of_several_addresses_listens_on_all_of_them_at_one_port() -> None:
    server = await create_http_server(asyncio.get_running_loop(), echo, HttpLimits(drain_grace_s=0), "", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.close()
    await server.drain(in_seconds(5))


async def test_draining_closes_idle_connections_and_the_listener() -> None:
    async with serving() as running:
        client = await running.connect()
        await client.ask(get())
        port = running.server.port
        assert await running.server.drain(in_seconds(5))
        assert await client.is_closed()
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            pass


async def test_draining_answers_what_is_in_progress_queued_or_half_received() -> None:
    async with serving(hold) as running:
        busy, slow = await running.connect(), await running.connect()
        await busy.send(post(b"one") + post(b"two"))
        await slow.send(post(b"three")[:-2])
        await running.until(lambda: len(running.seen) == 1 and running.server.open_connections == 2)
        draining = asyncio.ensure_future(running.server.drain(in_seconds(5)))
        await asyncio.sleep(0)
        running.seen[0].respond(200, b"one")
        await running.until(lambda: len(running.seen) == 2)
        running.seen[1].respond(200, b"two")
        first, second = await busy.read_reply(), await busy.read_reply()
        assert [(first.body, first.closes), (second.body, second.closes)] == [(b"one", False), (b"two", True)]
        assert not draining.done()
        await slow.send(b"ee")
        await running.until(lambda: len(running.seen) == 3)
        running.seen[2].respond(200, running.seen[2].body)
        third = await slow.read_reply()
        assert (third.body, third.closes) == (b"three", True)
        assert await draining


async def test_request_on_its_way_when_draining_begins_is_answered() -> None:
    async with serving(limits=HttpLimits(drain_grace_s=5)) as running:
        used, fresh = await running.connect(), await running.connect()
        await used.ask(get())
        running.server.stop_accepting()
        draining = asyncio.ensure_future(running.server.drain(in_seconds(5)))
        for client in (used, fresh):
            reply = await client.ask(get())
            assert (reply.status, reply.closes) == (200, True)
        assert await draining


async def test_connection_that_the_kernel_holds_when_draining_begins_is_served() -> None:
    async with serving(limits=HttpLimits(drain_grace_s=5)) as running:
        waiting = socket.create_connection(("127.0.0.1", running.server.port))
        waiting.sendall(get())
        running.server.stop_accepting()
        draining = asyncio.ensure_future(running.server.drain(in_seconds(5)))
        assert await draining
        assert waiting.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
        waiting.close()


async def test_draining_ends_at_the_deadline_and_tells_the_handler() -> None:
    left: list[str] = []

    def handler(exchange: Exchange) -> None:
        exchange.on_disconnect = lambda: left.append(exchange.path)

    async with serving(handler) as running:
        client = await running.connect()
        await client.send(get("/stuck"))
        await running.until(lambda: len(running.seen) == 1)
        assert not await running.server.drain(in_seconds(0))
        assert left == ["/stuck"]
        assert running.server.open_connections == 0


async def test_idle_connection_at_the_deadline_is_no_loss() -> None:
    async with serving(limits=HttpLimits(drain_grace_s=5)) as running:
        client = await running.connect()
        await client.ask(get())
        assert await running.server.drain(in_seconds(0))
        assert running.server.open_connections == 0


async def test_answer_that_its_client_has_not_taken_at_the_deadline_is_a_loss() -> None:
    async with serving(limits=HttpLimits(max_body_bytes=50_000_000, drain_grace_s=0)) as running:
        client = await running.connect()
        await client.send(post(b"x" * 24_000_000))
        await running.until(lambda: len(running.seen) == 1)
        assert not await running.server.drain(in_seconds(0))


async def test_date_is_renewed_by_the_sweep() -> None:
    async with serving() as running:
        running.server.date = b"date: long ago\r\n"
        running.server.sweep(0)
        assert running.server.date.endswith(b" GMT\r\n")
