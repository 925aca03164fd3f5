"""Connections that end at a bad moment, against a server that does as it is told."""

from __future__ import annotations

import asyncio

import pytest

from beyond_serve.client import AsyncClient, ServerUnreachableError

LIVE = b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"live":true}'


class Scripted:
    """Answers each request with the next of `answers`; None ends its connection without one."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.answers:
                await reader.readuntil(b"\r\n\r\n")
                answer = self.answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


async def call_twice(script: Scripted) -> None:
    server = await asyncio.start_server(script, "127.0.0.1", 0)
    async with server, AsyncClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        assert await client.live()
        assert await client.live()


async def test_a_connection_closed_as_it_is_reused_is_replaced() -> None:
    script = Scripted(LIVE, None, LIVE)

    await call_twice(script)

    assert script.connections == 2


async def test_a_server_that_keeps_hanging_up() -> None:
    with pytest.raises(ServerUnreachableError, match="the connection broke"):
        await call_twice(Scripted(LIVE, None, None))


async def test_a_body_that_ends_early() -> None:
    cut = LIVE.replace(b"13", b"99")
    with pytest.raises(ServerUnreachableError, match="the connection broke"):
        await call_twice(Scripted(cut))
