"""Time-outs of a connection over a real socket."""

from __future__ import annotations

import asyncio

import pytest

from beyond_serve.server.http.limits import HttpLimits
from tests.server.http.serving import LIMITS, get, hold, post, serving

# Time-outs; the sweep's clock is given, so nothing waits.


@pytest.mark.parametrize(
    ("sent", "allowed_s", "says"),
    [
        (b"POST / HT", 10, "head did not arrive within 10 s"),
        (post(b"abc")[:-1], 60, "body did not arrive within 60"),
    ],
)
async def test_slow_request_is_answered_408(sent: bytes, allowed_s: float, says: str) -> None:
    async with serving() as running:
        client, other = await running.connect(), await running.connect()
        await other.ask(get())
        await client.send(sent)
        await other.ask(get())
        running.sweep_after(allowed_s - 1)
        running.sweep_after(allowed_s + 1)
        reply = await client.read_reply()
        assert (reply.status, reply.closes) == (408, True)
        assert says in reply.json()["error"]["message"]
        assert await client.is_closed()
        assert (await other.ask(get())).status == 200


async def test_idle_connection_is_closed_without_a_word() -> None:
    async with serving() as running:
        fresh, used = await running.connect(), await running.connect()
        await used.ask(get())
        await running.until(lambda: running.server.open_connections == 2)
        running.sweep_after(119)
        assert (await used.ask(get())).status == 200
        running.sweep_after(121)
        assert await fresh.is_closed()
        assert await used.is_closed()


async def test_request_in_progress_has_no_time_out_and_shields_the_next_one() -> None:
    async with serving(hold) as running:
        client = await running.connect()
        await client.send(get() + b"GET / HT")
        await running.until(lambda: len(running.seen) == 1)
        running.sweep_after(100_000)
        running.reader().since_ns -= (
            100_000 * 10**9
        )  # the second request began long before the first was answered
        running.seen[0].respond(200)
        assert (await client.read_reply()).status == 200
        running.sweep_after(9)
        await client.send(b"TP/1.1\r\nHost: a\r\n\r\n")
        await running.until(lambda: len(running.seen) == 2)


async def test_client_that_does_not_read_stops_being_served_and_is_dropped_in_the_end() -> None:
    limits = HttpLimits(write_buffer_bytes=1000, drain_grace_s=0)
    async with serving(
        lambda exchange: exchange.respond(200, b"x" * 8_000_000) and None, limits=limits
    ) as running:
        client = await running.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(get() * 5)
        await running.until(lambda: len(running.seen) == 1)
        running.sweep_after(0)
        running.sweep_after(29)
        assert running.server.open_connections == 1
        running.sweep_after(31)
        await running.until(lambda: running.server.open_connections == 0)
        assert len(running.seen) == 1


async def test_client_that_reads_slowly_is_served_on() -> None:
    limits = HttpLimits(max_body_bytes=50_000_000, drain_grace_s=0)
    async with serving(limits=limits) as running:
        client = await running.connect()
        sending = asyncio.ensure_future(client.send(post(b"x" * 24_000_000)))
        assert (await client.read_head())[0] == 200
        await sending
        for turn in range(4):
            running.sweep_after(25 * turn)
            await client.reader.readexactly(6_000_000)
        assert (await client.ask(get())).status == 200


async def test_lingering_connection_is_closed_in_the_end() -> None:
    async with serving() as running:
        client = await running.connect()
        assert (await client.ask(b"junk\r\n\r\n")).status == 400
        assert await client.is_closed()
        running.sweep_after(LIMITS.linger_s - 1)
        assert running.server.open_connections == 1
        running.sweep_after(LIMITS.linger_s + 1)
        await running.until(lambda: running.server.open_connections == 0)
