"""One client's connection: what it sends becomes exchanges, one in progress at a time, answered in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from time import monotonic_ns
from typing import TYPE_CHECKING, cast

from beyond_serve.errors import BeyondError
from beyond_serve.server.error_table import error_body, http_headers, http_status, oip_error_body
from beyond_serve.server.http.admission import Admission
from beyond_serve.server.http.deadlines import Unsent, is_over, late
from beyond_serve.server.http.exchange import Exchange
from beyond_serve.server.http.peer import PROBE_S, is_gone
from beyond_serve.server.http.reader import STOPPED, RequestReader, Stage
from beyond_serve.server.http.refusal import Refusal, is_oip_path
from beyond_serve.server.http.replies import CLOSE, CONTINUE, KEEP, KEEP_1_0, encode_reply

if TYPE_CHECKING:
    from beyond_serve.server.http.server import HttpServer

log = logging.getLogger(__name__)

LARGE_BODY_BYTES = 65_536
"""Bodies from this size are handed over beside their head instead of being copied behind it."""

_TOO_MANY = Refusal(503, "too_many_connections", "the server has too many connections", "try again later")


class Connection(asyncio.Protocol):
    """Owned by its transport; the server holds it while it is open. No task and no timer of its own.

    Where it stands: `_exchange` is in its handler's hands; `_reader.completed` wait behind it; while
    `_lingering` everything is answered and input is thrown away until the client closes.
    """

    __slots__ = (
        "_advancing",
        "_ended",
        "_eof",
        "_exchange",
        "_lingering",
        "_lost",
        "_reader",
        "_reading_paused",
        "_resting",
        "_server",
        "_since_ns",
        "_tls",
        "_transport",
        "_unsent",
        "_write_paused",
    )

    _transport: asyncio.Transport

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._reader = RequestReader(server.limits, self, server.gate, server.known_heads)
        self._exchange: Exchange | None = None
        self._advancing = False
        self._ended = False
        self._eof = False
        self._lingering = False
        self._lost = False
        self._reading_paused = False
        self._write_paused = False
        self._tls = False
        self._since_ns = 0  # when it was opened or last answered
        self._resting = False
        self._unsent = Unsent()

    # The transport's calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
        self._since_ns = monotonic_ns()
        self._tls = transport.get_extra_info("sslcontext") is not None
        transport.set_write_buffer_limits(high=self._server.limits.write_buffer_bytes)
        admission = self._server.admit(self)
        if admission is Admission.DROPPED:
            transport.abort()
        elif admission is Admission.REFUSED:
            self._reader.refuse(_TOO_MANY)
            self._advance()

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if reader.stage is STOPPED:
            return
        reader.feed(data, monotonic_ns())
        if reader.completed:
            if self._exchange is None:
                self._advance()
            if len(reader.completed) >= self._server.limits.max_pipelined:
                self._pause_reading()
        elif reader.wants_continue:
            self._continue()

    def eof_received(self) -> bool:
        """The client sends no more. What it sent is still answered, except over TLS, which ends both ways."""
        self._eof = True
        if self._tls or (self._exchange is None and not self._reader.completed):
            return False
        self._probe_peer()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._server.forget(self)
        self._reader.completed.clear()
        exchange = self._exchange
        self._exchange = None
        if exchange is not None and exchange.on_disconnect is not None:
            try:
                exchange.on_disconnect()
            except Exception:
                log.exception("on_disconnect of %r failed", exchange)

    def pause_writing(self) -> None:
        self._write_paused = True
        self._pause_reading()

    def resume_writing(self) -> None:
        self._write_paused = False
        if not self._advancing:
            self._advance()

    # The exchange's call.

    def reply(
        self,
        exchange: Exchange,
        status: int,
        body: bytes,
        content_type: str,
        headers: Sequence[tuple[str, str]],
    ) -> int:
        if self._lost:
            return monotonic_ns()
        server = self._server
        keep = exchange.keep_alive and not ((self._eof or server.stopping) and self._is_last())
        connection = CLOSE if not keep else KEEP_1_0 if exchange.http_1_0 else KEEP
        without_body = exchange.method == "HEAD"
        apart = not without_body and len(body) >= LARGE_BODY_BYTES
        reply = encode_reply(
            status, body, content_type, headers, connection, server.date, without_body or apart
        )
        if apart:
            self._transport.writelines((reply, body))
        else:
            self._transport.write(reply)
        self._since_ns = now_ns = monotonic_ns()
        self._exchange = None
        if status >= 400 and self._advancing and not self._resting:
            self._rest()
        if not keep:
            self._end(linger=exchange.refusal is not None)
        elif not self._advancing:
            self._advance()
        return now_ns

    # The server's calls.

    def sweep(self, now_ns: int) -> None:
        """End what has taken too long. Called about once a second."""
        limits = self._server.limits
        unsent = self._transport.get_write_buffer_size()
        if self._unsent.is_stuck(unsent, now_ns, limits.write_timeout_s):
            self._transport.abort()
        if unsent:
            return
        stage = self._reader.stage
        if self._lingering:
            if is_over(self._since_ns, now_ns, limits.linger_s):
                self._transport.abort()
        elif self._exchange is not None:
            if self._eof:
                self._check_peer()
        elif stage is Stage.IDLE:
            if is_over(self._since_ns, now_ns, limits.idle_timeout_s):
                self._transport.close()
        else:
            # While an earlier request was in progress, this one's client was not to blame.
            since_ns = max(self._reader.since_ns, self._since_ns)
            refusal = late(stage, since_ns, now_ns, self._reader.body_bytes, limits)
            if refusal is not None:
                self._reader.refuse(refusal)
                self._advance()

    @property
    def busy(self) -> bool:
        """A request is being received or handled, or an answer is not yet on its way whole."""
        return (
            self._exchange is not None
            or bool(self._reader.completed)
            or self._reader.stage in (Stage.HEAD, Stage.BODY)
            or self._transport.get_write_buffer_size() > 0
        )

    def close_if_idle(self) -> None:
        if not (self.busy or self._lingering):
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # Inside.

    def _advance(self) -> None:
        """Hand the next request to the handler, one after the other as long as they are answered at once."""
        reader = self._reader
        completed = reader.completed
        self._advancing = True
        while completed and self._exchange is None and not (self._write_paused or self._ended):
            exchange = completed.popleft()
            self._exchange = exchange
            if exchange.refusal is None:
                self._handle(exchange)
            else:
                refusal = exchange.refusal
                exchange.respond(refusal.status, refusal.body(exchange.raw_path), headers=refusal.fields)
        self._advancing = False
        if self._exchange is None and not self._ended:
            if reader.wants_continue:
                self._continue()
            if self._reading_paused and not (self._write_paused or self._resting):
                self._reading_paused = False
                self._transport.resume_reading()

    def _handle(self, exchange: Exchange) -> None:
        try:
            self._server.handler(exchange)
        except Exception as error:
            if exchange.answered or not isinstance(error, BeyondError):
                log.exception("the handler of %r failed", exchange)
            if not exchange.answered:
                encode = oip_error_body if is_oip_path(exchange.raw_path) else error_body
                exchange.respond(http_status(error), encode(error), headers=http_headers(error))

    def _is_last(self) -> bool:
        """Whether, with no more input or draining, the answer being written is the connection's last."""
        if self._reader.completed:
            return False
        return self._eof or self._reader.stage not in (Stage.HEAD, Stage.BODY)

    def _end(self, *, linger: bool) -> None:
        """Close behind the last answer."""
        self._ended = True
        self._reader.completed.clear()
        if not linger or self._eof:
            self._transport.close()
            return
        self._lingering = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    def _continue(self) -> None:
        if self._exchange is None:
            self._reader.wants_continue = False
            self._transport.write(CONTINUE)

    def _rest(self) -> None:
        """Read on only after one turn of the loop.

        libuv stays in one poll while more sockets are readable than it asks for at a time: a thousand clients
        refused at once, and back at once, would keep it from what frees the queue between polls.
        """
        self._resting = True
        self._pause_reading()
        self._server.loop.call_soon(self._rested)

    def _rested(self) -> None:
        self._resting = False
        if not (self._lost or self._advancing or self._write_paused):
            self._advance()

    def _pause_reading(self) -> None:
        if not (self._reading_paused or self._ended or self._eof):
            self._reading_paused = True
            self._transport.pause_reading()

    def _probe_peer(self) -> None:
        """Find out whether the client left or only finished sending: until written to, both look the same.

        A machine whose program has closed the connection answers with a reset; a client that still
        listens skips "100 Continue", as RFC 9110 asks of it. HTTP/1.0 knows no such answers.
        """
        if self._exchange is not None and not self._exchange.http_1_0:
            self._transport.write(CONTINUE)
            self._server.loop.call_later(PROBE_S, self._check_peer)

    def _check_peer(self) -> None:
        if not self._lost and is_gone(self._transport):
            self._transport.abort()
