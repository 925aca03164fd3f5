"""A real server on a loopback port and a client that sends raw bytes."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any

from beyond_serve.server.http.exchange import Exchange, Gate, Handler
from beyond_serve.server.http.limits import HttpLimits
from beyond_serve.server.http.reader import RequestReader
from beyond_serve.server.http.server import HttpServer, create_http_server

LIMITS = HttpLimits(max_header_bytes=2000, max_body_bytes=100_000, max_discarded_bytes=100, drain_grace_s=0)


def hold(_exchange: Exchange) -> None:
    """Answer later: the test does."""


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"

    def json(self) -> Any:
        return json.loads(self.body)


class RawClient:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read_head(self) -> tuple[int, dict[str, str]]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rest = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in rest)}
        return int(line.split(" ")[1]), headers

    async def read_reply(self, *, bodiless: bool = False) -> Reply:
        status, headers = await self.read_head()
        length = 0 if bodiless else int(headers.get("content-length", "0"))
        return Reply(status, headers, await self.reader.readexactly(length))

    async def ask(self, data: bytes) -> Reply:
        await self.send(data)
        return await self.read_reply()

    async def read_to_end(self) -> bytes:
        return await self.reader.read()

    async def is_closed(self) -> bool:
        """Wait for the server's end of output; nothing may come before it."""
        return await self.reader.read() == b""

    def half_close(self) -> None:
        self.writer.write_eof()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()


@dataclass
class Serving:
    """A server and what reached its handler."""

    server: HttpServer
    seen: list[Exchange] = field(default_factory=list)
    clients: list[RawClient] = field(default_factory=list)

    async def connect(self, tls: ssl.SSLContext | None = None) -> RawClient:
        name = "localhost" if tls else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.server.port, ssl=tls, server_hostname=name
        )
        client = RawClient(reader, writer)
        self.clients.append(client)
        return client

    def sweep_after(self, seconds: float) -> None:
        self.server.sweep(monotonic_ns() + int(seconds * 1e9))

    def reader(self) -> RequestReader:
        """What the server's only connection reads with, for what no client can see."""
        (connection,) = self.server._connections
        return connection._reader

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop run until something came true; the test's time-out is the whole run's."""
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - what is awaited happens in the kernel
                await asyncio.sleep(0)


def echo(exchange: Exchange) -> None:
    exchange.respond(200, exchange.body, "application/octet-stream")


@asynccontextmanager
async def serving(
    handler: Handler = echo,
    *,
    limits: HttpLimits = LIMITS,
    gate: Gate | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Serving]:
    seen: list[Exchange] = []

    def note(exchange: Exchange) -> None:
        seen.append(exchange)
        handler(exchange)

    loop = asyncio.get_running_loop()
    server = await create_http_server(loop, note, limits, "127.0.0.1", 0, tls, gate)
    running = Serving(server, seen)
    try:
        yield running
    finally:
        for client in running.clients:
            client.reset()
        await server.drain(loop.time())


def post(body: bytes, path: str = "/predict", more: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%b\r\n%b" % (
        path.encode(),
        len(body),
        more,
        body,
    )


def get(path: str = "/", more: bytes = b"") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (path.encode(), more)
