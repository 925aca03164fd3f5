"""One HTTP/1.1 connection with at most one request on its way."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import httptools

from beyond_serve.bench.load.error_kinds import ErrorKind, kind_of

IDLE = -1


class Owner(Protocol):
    """Who hears of a connection's ends. Both calls come once per request, and once per connection."""

    keeps_bodies: bool

    def answered(
        self, connection: HttpConnection, received_ns: int, status: int, body: bytes | None, *, reusable: bool
    ) -> None:
        """The answer to `connection.row` is whole; it is idle from now on, and closed if not `reusable`."""

    def failed(self, connection: HttpConnection, kind: ErrorKind) -> None:
        """The request `connection.row` will not be answered; the connection is lost."""

    def lost(self, connection: HttpConnection) -> None:
        """The connection was lost while idle."""


class HttpConnection(asyncio.Protocol):
    """State: the row of the request on its way, IDLE if there is none."""

    __slots__ = (
        "_body",
        "_complete",
        "_first",
        "_owner",
        "_parser",
        "_reusable",
        "_transport",
        "bytes_in",
        "row",
        "sent_ns",
    )

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._body: list[bytes] = []
        self._complete = False
        self._reusable = False
        self._first = b""
        self.row = IDLE
        self.sent_ns = 0
        self.bytes_in = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]

    def send(self, row: int, payload: bytes, sent_ns: int) -> None:
        """Put a whole request on the wire. Only while idle."""
        self.row = row
        self.sent_ns = sent_ns
        self.bytes_in = 0
        self._first = b""
        assert self._transport is not None
        self._transport.write(payload)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if self.row == IDLE or self._parser is None:
            # An answer that nobody asked for: whose it is cannot be known, so nothing later can be trusted.
            self.abort()
            return
        if not self.bytes_in:
            self._first = data
        self.bytes_in += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.fail(ErrorKind.MALFORMED)
            return
        if self._complete:
            self._finish(now)

    def on_body(self, body: bytes) -> None:
        if self._owner.keeps_bodies:
            self._body.append(body)

    def on_message_complete(self) -> None:
        assert self._parser is not None
        # 1xx answers come before the one that counts.
        self._complete = self._parser.get_status_code() >= 200
        # Asked here: after this callback the parser has forgotten the answer's headers.
        self._reusable = self._parser.should_keep_alive()

    def _finish(self, now: int, *, at_end: bool = False) -> None:
        assert self._parser is not None
        reusable = self._reusable and not at_end
        body = None
        if self._body:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._body = []
        self._complete = False
        status = self._parser.get_status_code()
        if not reusable:
            self._close()
        self._owner.answered(self, now, status, body, reusable=reusable)

    def eof_received(self) -> None:
        return None

    def connection_lost(self, error: Exception | None) -> None:
        if self._parser is None:
            return
        if self.row == IDLE:
            self._close()
            self._owner.lost(self)
        elif error is None and self._ends_with_connection():
            self._finish(time.monotonic_ns(), at_end=True)
        else:
            self.fail(ErrorKind.CLOSED if error is None else kind_of(error))

    def _ends_with_connection(self) -> bool:
        """Whether the answer on its way has no length of its own (RFC 9112, 6.3)."""
        head, end, _ = self._first.partition(b"\r\n\r\n")
        head = head.lower()
        return bool(end) and b"\ncontent-length:" not in head and b"\ntransfer-encoding:" not in head

    def fail(self, kind: ErrorKind) -> None:
        """Give up the request on its way, and the connection with it."""
        self._close(abort=True)
        self._owner.failed(self, kind)

    def abort(self) -> None:
        """Leave without a word; the owner is told if it did not begin it."""
        self._close(abort=True)
        self._owner.lost(self)

    def close(self) -> None:
        """Leave; the owner is not told."""
        self._close()

    def _close(self, *, abort: bool = False) -> None:
        # The parser knows this object and this object the parser: parted here, so that both go at once
        # and not when the collector stops the generator.
        self._parser = None
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort() if abort else transport.close()
