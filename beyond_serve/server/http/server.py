"""The HTTP server: listening sockets, open connections, one sweep for all their time-outs, draining."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from email.utils import formatdate
from time import monotonic_ns

from beyond_serve.server.http.admission import Admission, admission
from beyond_serve.server.http.connection import Connection
from beyond_serve.server.http.exchange import Gate, Handler
from beyond_serve.server.http.known_heads import KnownHeads
from beyond_serve.server.http.limits import HttpLimits
from beyond_serve.server.http.listen import BACKLOG, open_listeners

log = logging.getLogger(__name__)

SWEEP_S = 1.0
"""How often time-outs are looked at: they may be late by this much."""

ABORT_S = 1.0
"""Aborting takes a turn of the loop; this is against a transport that would not let go."""


async def create_http_server(
    loop: asyncio.AbstractEventLoop,
    handler: Handler,
    limits: HttpLimits,
    host: str,
    port: int,
    ssl: ssl.SSLContext | None = None,
    gate: Gate | None = None,
) -> HttpServer:
    """Listen and serve.

    Args:
        handler: called with each whole request, on the loop; answers now or later. What it raises is
            answered by the error table and, unless it is a BeyondError, logged.
        host: name or address; "" for all of the machine's.
        port: 0 for any free one; HttpServer.port tells which.
        gate: asked when a request's headers are complete, before any of its body is read; must not block.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    server = HttpServer(loop, handler, limits, ssl, gate)
    await server.listen(host, port)
    return server


class HttpServer:
    """Owns the listening sockets and knows every open connection. Lives on one event loop.

    Attributes:
        stopping: draining has begun; each connection's next answer is its last.
        date: the Date header line of answers, renewed by the sweep.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handler: Handler,
        limits: HttpLimits,
        tls: ssl.SSLContext | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.loop = loop
        self.handler = handler
        self.limits = limits
        self.gate = gate
        self.known_heads = KnownHeads()
        self.stopping = False
        self.date = _date_line()
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.AbstractServer] = []
        self._accepting: set[asyncio.Task[object]] = set()
        self._connections: set[Connection] = set()
        self._all_gone: asyncio.Future[None] | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port listened on. Only before `stop_accepting`."""
        port: int = self._sockets[0].getsockname()[1]
        return port

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    async def listen(self, host: str, port: int) -> None:
        self._sockets = await open_listeners(self.loop, host, port)
        # A handshake that dawdles is not yet a connection here: the transport itself ends it.
        handshake_s = self.limits.header_timeout_s if self._tls else None
        for listener in self._sockets:
            server = await self.loop.create_server(
                self._connection,
                sock=listener,
                backlog=BACKLOG,
                ssl=self._tls,
                ssl_handshake_timeout=handshake_s,
            )
            self._servers.append(server)
        self._sweep_later()

    def stop_accepting(self) -> None:
        """Begin to drain: close the listening sockets; connections end with their next answer. Idempotent.

        Whoever had connected by now is served. Idle connections are closed after `drain_grace_s`, for
        the next request of a busy client may already be on its way.
        """
        if self.stopping:
            return
        self.stopping = True
        for listener in self._sockets:
            self._accept_waiting(listener)
        for server in self._servers:
            server.close()
        self.loop.call_later(self.limits.drain_grace_s, self._close_idle)

    async def drain(self, deadline_s: float) -> bool:
        """Wait until everything received is answered, then close what is still open.

        Args:
            deadline_s: on `loop.time()`; what is not answered by then is aborted.

        Returns:
            Whether everything was answered in time.
        """
        self.stop_accepting()
        done = await self._wait_until_gone(deadline_s)
        self.abort()
        await self._wait_until_gone(self.loop.time() + ABORT_S)
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        return done

    def abort(self) -> None:
        """Drop every connection as it is; handlers' on_disconnect is called."""
        for task in self._accepting:
            task.cancel()
        for connection in tuple(self._connections):
            connection.abort()

    def sweep(self, now_ns: int) -> None:
        """End every connection that has exceeded a time-out at `now_ns` of `time.monotonic_ns`."""
        self.date = _date_line()
        for connection in tuple(self._connections):
            connection.sweep(now_ns)

    # The connections' calls.

    def admit(self, connection: Connection) -> Admission:
        decision = admission(len(self._connections), self.limits.max_connections)
        self._connections.add(connection)
        return decision

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._note_gone()

    # Inside.

    def _connection(self) -> Connection:
        return Connection(self)

    def _sweep_later(self) -> None:
        self._sweeper = self.loop.call_later(SWEEP_S, self._sweep_and_repeat)

    def _sweep_and_repeat(self) -> None:
        self.sweep(monotonic_ns())
        self._sweep_later()

    def _accept_waiting(self, listener: socket.socket) -> None:
        """Accept whom the kernel has connected already: closing the listener would reset them."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self.loop.create_task(
                self.loop.connect_accepted_socket(self._connection, client, ssl=self._tls)
            )
            self._accepting.add(task)
            task.add_done_callback(self._accepted)

    def _accepted(self, task: asyncio.Task[object]) -> None:
        self._accepting.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.info("a connection failed while it was accepted: %s", task.exception())
        self._note_gone()

    def _close_idle(self) -> None:
        for connection in tuple(self._connections):
            connection.close_if_idle()

    async def _wait_until_gone(self, deadline_s: float) -> bool:
        if self._connections or self._accepting:
            self._all_gone = self.loop.create_future()
            try:
                async with asyncio.timeout_at(deadline_s):
                    await self._all_gone
            except TimeoutError:
                # Whoever is only idle or slow to close has had every answer.
                return not self._accepting and not any(connection.busy for connection in self._connections)
        return True

    def _note_gone(self) -> None:
        gone = self._all_gone
        if gone is not None and not gone.done() and not self._connections and not self._accepting:
            gone.set_result(None)


def _date_line() -> bytes:
    return f"date: {formatdate(usegmt=True)}\r\n".encode()
