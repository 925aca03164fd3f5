"""An HTTP server that answers each request with what the test wrote down, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

Answer = Callable[[asyncio.StreamWriter], None]


@dataclass
class ScriptedServer:
    """`requests` are the bodies so far; `connections` how many were accepted."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)


def parts(*chunks: bytes) -> Answer:
    """Write the chunks; TCP may join them, so tests of splitting cut what the parser sees instead."""

    def answer(writer: asyncio.StreamWriter) -> None:
        for chunk in chunks:
            writer.write(chunk)

    return answer


def ok(body: bytes = b"{}", head: bytes = b"") -> Answer:
    return parts(b"HTTP/1.1 200 OK\r\n" + head + b"content-length: %d\r\n\r\n" % len(body) + body)


def and_close(answer: Answer) -> Answer:
    def closing(writer: asyncio.StreamWriter) -> None:
        answer(writer)
        writer.close()

    return closing


def reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def silence(_writer: asyncio.StreamWriter) -> None:
    """No answer."""


@contextlib.asynccontextmanager
async def scripted(
    answers: Sequence[Answer], tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedServer]:
    """The last answer is repeated for ever."""
    state = ScriptedServer()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                state.heads.append(head)
                state.requests.append(await reader.readexactly(length))
                answers[min(len(state.requests), len(answers)) - 1](writer)
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()
