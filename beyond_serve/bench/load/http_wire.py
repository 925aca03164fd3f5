"""HTTP/1.1 over a pool of kept connections that grows as they are needed. Owner of the connections."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import deque
from collections.abc import Callable

from beyond_serve.bench.load.error_kinds import ErrorKind, kind_of
from beyond_serve.bench.load.http_connection import IDLE, HttpConnection
from beyond_serve.bench.load.plan import WirePlan
from beyond_serve.bench.load.wire import Ended, ssl_context

_OPENING_AT_ONCE = 64
"""Connections opened at once before the load: fewer than the backlog of any server's listening socket."""


class HttpWire:
    """State: connections that are idle (the one used last on top, so that few stay warm), all that are open
    or opening, and requests that wait for one because `max_connections` is reached."""

    def __init__(self, plan: WirePlan, ended: Ended, on_sent: Callable[[int, int], None]) -> None:
        self.keeps_bodies = plan.traced
        self._plan = plan
        self._ended = ended
        self._on_sent = on_sent
        self._payloads = plan.payloads
        self._ssl = None if plan.tls is None else ssl_context(plan.tls)
        self._timeout_ns = round(plan.timeout_s * 1e9)
        self._idle: list[HttpConnection] = []
        self._open: set[HttpConnection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[tuple[int, int, int]] = deque()

    async def open(self, connections: int) -> None:
        connections = min(connections, self._plan.max_connections)
        for start in range(0, connections, _OPENING_AT_ONCE):
            made = await asyncio.gather(
                *(self._connect() for _ in range(min(_OPENING_AT_ONCE, connections - start))),
                return_exceptions=True,
            )
            self._idle += [connection for connection in made if isinstance(connection, HttpConnection)]

    async def _connect(self) -> HttpConnection:
        loop = asyncio.get_running_loop()
        opening = loop.create_connection(
            lambda: HttpConnection(self),
            self._plan.host,
            self._plan.port,
            ssl=self._ssl,
            server_hostname=self._plan.server_name if self._ssl else None,
        )
        _, connection = await asyncio.wait_for(opening, self._plan.timeout_s)
        self._open.add(connection)
        return connection

    def send(self, row: int, image: int) -> int:
        now = time.monotonic_ns()
        if self._idle:
            self._idle.pop().send(row, self._payloads[image], now)
            return now
        if len(self._open) + len(self._opening) >= self._plan.max_connections:
            self._waiting.append((row, image, now))
            return 0
        self._open_for(row, image, now)
        return now

    def _open_for(self, row: int, image: int, sent_ns: int) -> None:
        # The request counts as sent: what opening a connection takes is the server's and the network's.
        task = asyncio.get_running_loop().create_task(self._connect_and_send(row, image, sent_ns))
        self._opening.add(task)
        task.add_done_callback(functools.partial(self._opened, row))

    def _opened(self, row: int, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        # Here and not in the task, which may be cancelled before its first step.
        if task.cancelled():
            self._ended(row, time.monotonic_ns(), 0, ErrorKind.UNFINISHED, 0, None)

    async def _connect_and_send(self, row: int, image: int, sent_ns: int) -> None:
        try:
            connection = await self._connect()
        except (OSError, TimeoutError) as error:
            self._ended(row, time.monotonic_ns(), 0, kind_of(error), 0, None)
        else:
            connection.send(row, self._payloads[image], sent_ns)

    def answered(
        self, connection: HttpConnection, received_ns: int, status: int, body: bytes | None, *, reusable: bool
    ) -> None:
        row, connection.row = connection.row, IDLE
        if reusable:
            self._idle.append(connection)
        else:
            self._open.discard(connection)
        kind = ErrorKind.NONE if status == 200 else ErrorKind.STATUS
        self._ended(row, received_ns, status, kind, connection.bytes_in, body)
        if self._waiting:
            self._serve_waiting()

    def failed(self, connection: HttpConnection, kind: ErrorKind) -> None:
        row, connection.row = connection.row, IDLE
        self._open.discard(connection)
        self._ended(row, time.monotonic_ns(), 0, kind, connection.bytes_in, None)
        if self._waiting:
            self._serve_waiting()

    def lost(self, connection: HttpConnection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _serve_waiting(self) -> None:
        """Give the oldest waiting request the place that has become free."""
        if not self._idle and len(self._open) + len(self._opening) >= self._plan.max_connections:
            return
        row, image, _ = self._waiting.popleft()
        self._on_sent(row, self.send(row, image))

    def expire(self, now_ns: int) -> None:
        oldest = now_ns - self._timeout_ns
        # Those that wait first, or they would be given the places that become free.
        while self._waiting and self._waiting[0][2] < oldest:
            self._ended(self._waiting.popleft()[0], now_ns, 0, ErrorKind.TIMEOUT, 0, None)
        for connection in [c for c in self._open if c.row != IDLE and c.sent_ns < oldest]:
            connection.fail(ErrorKind.TIMEOUT)

    def abandon(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for row, _, _ in waiting:
            self._ended(row, time.monotonic_ns(), 0, ErrorKind.UNFINISHED, 0, None)
        for task in self._opening:
            task.cancel()
        for connection in [c for c in self._open if c.row != IDLE]:
            connection.fail(ErrorKind.UNFINISHED)

    async def close(self) -> None:
        self.abandon()
        if self._opening:
            await asyncio.wait(self._opening)
        for connection in self._open:
            connection.close()
        self._open.clear()
        self._idle.clear()
        # One turn, in which the transports say goodbye.
        await asyncio.sleep(0)
