"""From a connection's bytes to requests. Without I/O: bytes and the time they came at go in."""

from __future__ import annotations

import logging
from collections import deque
from enum import IntEnum

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from beyond_serve.server.http.body import Body
from beyond_serve.server.http.exchange import Exchange, Gate, ReplyPort
from beyond_serve.server.http.head import bad_request, check_head, head_size, origin_form
from beyond_serve.server.http.known_heads import KnownHead, KnownHeads
from beyond_serve.server.http.limits import HttpLimits
from beyond_serve.server.http.refusal import Refusal, body_too_large, head_too_large

log = logging.getLogger(__name__)

MAX_UPGRADES = 16
"""Requests asking for an upgrade that one piece of input may hold: each costs a copy of what follows."""


class Stage(IntEnum):
    """What the next byte belongs to."""

    IDLE = 0  # a request that has not begun
    HEAD = 1
    BODY = 2
    STOPPED = 3  # nothing: no further request of this connection is read


# Looking a member up on its enum costs as much as the rest of a check.
_IDLE, _HEAD, _BODY, STOPPED = Stage


class _Stop(Exception):
    """Ends llhttp's run from inside a callback; the refusal has been noted."""


class RequestReader:
    """Cuts one connection's input into requests, in order.

    A request that is refused while it is read becomes an exchange with a `refusal`; if its framing can
    no longer be trusted or its body is not wanted, the reader stops behind it.

    Attributes:
        completed: requests that were read or refused and wait to be handled; the connection takes them.
        stage: what the next byte belongs to.
        since_ns: when the request being read began (HEAD) or its body did (BODY).
        wants_continue: the client waits for "100 Continue" before it sends the body.
    """

    __slots__ = (
        "_body",
        "_exchange",
        "_fed_bytes",
        "_gate",
        "_head_bytes",
        "_headers",
        "_known",
        "_limits",
        "_now_ns",
        "_parser",
        "_port",
        "_resumed_ns",
        "_started_ns",
        "_target",
        "_upgrading",
        "completed",
        "since_ns",
        "stage",
        "wants_continue",
    )

    def __init__(
        self, limits: HttpLimits, port: ReplyPort, gate: Gate | None = None, known: KnownHeads | None = None
    ) -> None:
        self._known = known or KnownHeads()
        self._limits = limits
        self._port = port
        self._gate = gate
        self._parser = HttpRequestParser(self)
        self._now_ns = 0
        self._fed_bytes = 0
        self._started_ns = 0
        self._resumed_ns = 0
        self._target = b""
        self._headers: dict[bytes, bytes] | None = {}
        self._head_bytes = 0
        self._upgrading = False
        self._exchange: Exchange | None = None
        self._body = Body()
        self.completed: deque[Exchange] = deque()
        self.stage = _IDLE
        self.since_ns = 0
        self.wants_continue = False

    @property
    def body_bytes(self) -> int:
        """How much of the body being read has come."""
        return self._body.received_bytes

    def feed(self, data: bytes, now_ns: int) -> None:
        """Take what was read at `now_ns`. Must not be called once STOPPED."""
        if self.stage is not _IDLE:
            self._parse(data, now_ns)
        elif (known := self._known.find(data)) is not None:
            self._repeat(known, data, now_ns)
        else:
            before = len(self.completed)
            self._parse(data, now_ns)
            if self.stage is _IDLE and len(self.completed) == before + 1:
                self._known.remember(data, self.completed[-1])

    def _repeat(self, known: KnownHead, data: bytes, now_ns: int) -> None:
        """A whole request whose head was parsed before, and let pass by the gate."""
        exchange = known.example.again(self._port, data[known.head_bytes :], now_ns)
        self._now_ns = now_ns
        self.since_ns = now_ns
        self.completed.append(exchange)

    def _parse(self, data: bytes, now_ns: int) -> None:
        self._now_ns = now_ns
        self._fed_bytes = len(data)
        try:
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade as upgrade:
                self._feed_past_upgrade(data, upgrade)
        except HttpParserError as error:
            if self.stage is not STOPPED:
                self._fail(error)
            return
        stage = self.stage
        if stage is _HEAD:
            self._check_unfinished_head()
        elif stage is _BODY and self._body.is_mostly_framing(self._fed_bytes, self._limits.max_header_bytes):
            self.refuse(bad_request("the chunked body is mostly framing", "send larger chunks"))

    def refuse(self, refusal: Refusal) -> None:
        """Answer the request being read with `refusal` once its turn comes, and read nothing more."""
        exchange = self._exchange if self.stage is _BODY else None
        if exchange is None:
            begun = self.stage is _HEAD
            target = origin_form(self._target.decode("latin-1")) if begun else ""
            exchange = Exchange(self._port, "", target, {})
            exchange.started_ns = self._started_ns if begun else self._now_ns
        exchange.received_ns = self._now_ns
        exchange.refusal = refusal
        exchange.keep_alive = False
        self._stop()
        self.completed.append(exchange)

    def _stop(self) -> None:
        self.stage = STOPPED
        self.wants_continue = False
        self._exchange = None
        self._body.start()

    def _fail(self, error: HttpParserError) -> None:
        if isinstance(error, HttpParserCallbackError):
            log.error("reading a request failed", exc_info=error.__context__ or error)
            self.refuse(Refusal(500, "internal", "the server failed to read the request"))
            return
        hint = None
        if self._target == b"*" and "PRI" in str(error):
            hint = "this port speaks HTTP/1.1, not HTTP/2"
        self.refuse(bad_request(f"malformed HTTP: {str(error).rstrip('.') or 'no request'}", hint))

    def _check_unfinished_head(self) -> None:
        if self._head_bytes < 0:
            # Earlier requests may lie in the piece of input where this one began.
            self._head_bytes = head_size(self._target, self._headers or {})
        else:
            self._head_bytes += self._fed_bytes
        if self._head_bytes > self._limits.max_header_bytes:
            self.refuse(head_too_large(self._limits.max_header_bytes))

    # llhttp's callbacks, in the order they come.

    def on_message_begin(self) -> None:
        self.stage = _HEAD
        self._started_ns = self.since_ns = self._resumed_ns or self._now_ns
        self._target = b""
        self._headers = {}
        self._head_bytes = -1

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self._headers
        if headers is None:
            return  # a trailer: nothing here reads them, and merged into the headers they could lie
        name = name.lower()
        if name in headers:
            value = b"%b, %b" % (headers[name], value)
        headers[name] = value

    def on_headers_complete(self) -> None:
        headers = self._headers
        assert headers is not None
        self._headers = None
        parser = self._parser
        method = parser.get_method().decode("ascii")
        version = parser.get_http_version()
        target = self._target.decode("latin-1")
        if target[:1] != "/":
            target = origin_form(target)
        exchange = Exchange(self._port, method, target, headers, version == "1.0", parser.should_keep_alive())
        exchange.started_ns = self._started_ns
        self._exchange = exchange
        self.stage = _BODY
        self.since_ns = self._now_ns
        refusal = check_head(method, target, headers, version)
        # Only a large piece of input can hold a large head that no check of unfinished ones has seen.
        most = self._limits.max_header_bytes
        if refusal is None and self._fed_bytes > most and head_size(self._target, headers) > most:
            refusal = head_too_large(self._limits.max_header_bytes)
        if refusal is not None:
            self.refuse(refusal)
            raise _Stop
        if b"upgrade" in headers and parser.should_upgrade():
            self._upgrading = True
            return
        self._admit(exchange, headers)

    def on_body(self, data: bytes) -> None:
        body = self._body
        body.add(data)
        if body.received_bytes > self._limits.max_body_bytes:
            self.refuse(body_too_large(self._limits.max_body_bytes))
            raise _Stop

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        exchange = self._exchange
        assert exchange is not None
        exchange.body = self._body.take()
        exchange.received_ns = self._now_ns
        self._exchange = None
        self.wants_continue = False
        self.completed.append(exchange)
        self.stage = _IDLE if exchange.keep_alive else STOPPED

    def _admit(self, exchange: Exchange, headers: dict[bytes, bytes]) -> None:
        """Decide whether the body is read; asked once per request, before any of it is."""
        length = int(headers.get(b"content-length", b"0"))
        chunked = b"transfer-encoding" in headers
        expects = b"expect" in headers
        refusal = self._gate(exchange) if self._gate is not None else None
        if refusal is None and length > self._limits.max_body_bytes:
            refusal = body_too_large(self._limits.max_body_bytes)
        if refusal is not None:
            if chunked or length > self._limits.max_discarded_bytes or (length and expects):
                self.refuse(refusal)
                raise _Stop
            exchange.refusal = refusal
            self._body.start(discarded=True)
        elif chunked:
            self._body.start(chunked=True)
        if expects and not exchange.http_1_0:
            self.wants_continue = chunked or length > 0

    # A request that offers to upgrade (to h2c, as Java's client does by default) is answered in HTTP/1.1;
    # but llhttp takes what follows its head for the other protocol. So it is told the head without the offer.

    def _feed_past_upgrade(self, data: bytes, upgrade: HttpParserUpgrade) -> None:
        for _ in range(MAX_UPGRADES):
            data = data[upgrade.args[0] :]
            self._read_head_without_upgrade()
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade as another:
                upgrade = another
            else:
                return
        self.refuse(
            bad_request("too many requests at once that ask for an upgrade", "wait for answers in between")
        )

    def _read_head_without_upgrade(self) -> None:
        offered = self._exchange
        assert offered is not None
        lines = [f"{offered.method} ".encode(), self._target]
        lines.append(b" HTTP/1.0\r\n" if offered.http_1_0 else b" HTTP/1.1\r\n")
        lines += [b"%b: %b\r\n" % header for header in offered.raw_headers.items() if header[0] != b"upgrade"]
        self._upgrading = False
        self._parser = HttpRequestParser(self)
        self._resumed_ns = offered.started_ns
        try:
            self._parser.feed_data(b"".join(lines) + b"\r\n")
        finally:
            self._resumed_ns = 0
