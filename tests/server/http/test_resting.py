"""A client that is refused at once is read again only after a turn of the loop, so that refusals cannot keep
the loop from what would free the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from beyond_serve.server.http.connection import Connection
from beyond_serve.server.http.exchange import Exchange
from tests.server.http.serving import get, serving


class FakeTransport(asyncio.Transport):
    """Records what is written and whether it is read from."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def abort(self) -> None: ...

    def close(self) -> None: ...


def answering(status: int) -> Callable[[Exchange], None]:
    def answer(exchange: Exchange) -> None:
        exchange.respond(status)

    return answer


async def test_after_a_refusal_it_reads_on_in_the_next_turn() -> None:
    async with serving(answering(429)) as running:
        connection, transport = Connection(running.server), FakeTransport()
        connection.connection_made(transport)
        for _ in range(3):
            connection.data_received(get())
            assert not transport.reading
            await asyncio.sleep(0)
            assert transport.reading
        assert transport.written.count(b" 429 ") == 3
        connection.connection_lost(None)


async def test_pipelined_refusals_rest_once() -> None:
    async with serving(answering(429)) as running:
        connection, transport = Connection(running.server), FakeTransport()
        connection.connection_made(transport)
        connection.data_received(get() * 4)
        assert transport.written.count(b" 429 ") == 4
        assert not transport.reading
        await asyncio.sleep(0)
        assert transport.reading
        connection.connection_lost(None)


async def test_a_good_answer_needs_no_rest() -> None:
    async with serving(answering(200)) as running:
        connection, transport = Connection(running.server), FakeTransport()
        connection.connection_made(transport)
        connection.data_received(get())
        assert transport.reading
        connection.connection_lost(None)


async def test_a_client_that_leaves_while_it_rests_is_left_alone() -> None:
    async with serving(answering(429)) as running:
        connection, transport = Connection(running.server), FakeTransport()
        connection.connection_made(transport)
        connection.data_received(get())
        connection.connection_lost(None)
        await asyncio.sleep(0)
        assert not transport.reading
