"""One request on a connection, and its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar, overload
from urllib.parse import parse_qsl, unquote

from beyond_serve.server.http.refusal import Refusal

D = TypeVar("D")


class Headers(Mapping[str, str]):
    """Request headers by lower-case name, decoded when asked for. Repeated ones are joined by ", "."""

    __slots__ = ("_raw",)

    def __init__(self, raw: dict[bytes, bytes]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        return self._raw[name.encode("latin-1", "replace")].decode("latin-1").strip(" \t")

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, default: str | D, /) -> str | D: ...
    def get(self, name: str, default: Any = None, /) -> Any:
        value = self._raw.get(name.encode("latin-1", "replace"))
        return default if value is None else value.decode("latin-1").strip(" \t")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"


class RequestHead:
    """A request up to its headers' end, checked against RFC 9112. What is costly is decoded when asked for.

    Attributes:
        method: in capitals.
        target: path and query as the client sent them, without scheme and host.
        raw_path: the target's path, still percent-encoded.
        raw_headers: by lower-case name.
        http_1_0: the client speaks HTTP/1.0.
        keep_alive: the client wants to use the connection again.
        route: free for the gate to leave what it found for the handler.
    """

    __slots__ = (
        "_headers",
        "_query",
        "http_1_0",
        "keep_alive",
        "method",
        "raw_headers",
        "raw_path",
        "raw_query",
        "route",
    )

    def __init__(
        self,
        method: str,
        target: str,
        raw_headers: dict[bytes, bytes],
        http_1_0: bool = False,
        keep_alive: bool = True,
    ) -> None:
        self.method = method
        self.raw_path, _, self.raw_query = target.partition("?")
        self.raw_headers = raw_headers
        self.http_1_0 = http_1_0
        self.keep_alive = keep_alive
        self.route: Any = None
        self._headers: Headers | None = None
        self._query: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self.raw_path}>"

    @property
    def path(self) -> str:
        """The path, percent-decoded as UTF-8; malformed bytes become U+FFFD, which no route has."""
        return unquote(self.raw_path) if "%" in self.raw_path else self.raw_path

    @property
    def query(self) -> dict[str, str]:
        """The query, decoded; of a repeated name the last value counts."""
        if self._query is None:
            self._query = dict(parse_qsl(self.raw_query, keep_blank_values=True)) if self.raw_query else {}
        return self._query

    @property
    def headers(self) -> Headers:
        if self._headers is None:
            self._headers = Headers(self.raw_headers)
        return self._headers


class ReplyPort(Protocol):
    """Where an exchange's answer goes: its connection."""

    def reply(
        self,
        exchange: Exchange,
        status: int,
        body: bytes,
        content_type: str,
        headers: Sequence[tuple[str, str]],
    ) -> int: ...


class Exchange(RequestHead):
    """A whole request, to be answered exactly once, now or later, on the event loop.

    Attributes:
        body: the request's body; empty if it has none.
        started_ns: `time.monotonic_ns` when the first byte was read.
        received_ns: the same for the last byte of the body.
        on_disconnect: called once if the client leaves before the answer; an answer given afterwards
            goes nowhere. A client that only closed its sending side has not left: it is given a sign
            of life ("100 Continue") and counts as gone once its machine answers that with a reset.
        refusal: set if no handler sees this exchange; its connection answers it.
    """

    __slots__ = ("_port", "body", "on_disconnect", "received_ns", "refusal", "started_ns")

    def __init__(
        self,
        port: ReplyPort,
        method: str,
        target: str,
        raw_headers: dict[bytes, bytes],
        http_1_0: bool = False,
        keep_alive: bool = True,
    ) -> None:
        RequestHead.__init__(self, method, target, raw_headers, http_1_0, keep_alive)
        self._port: ReplyPort | None = port
        self.body = b""
        self.started_ns = 0
        self.received_ns = 0
        self.on_disconnect: Callable[[], None] | None = None
        self.refusal: Refusal | None = None

    def again(self, port: ReplyPort, body: bytes, now_ns: int) -> Exchange:
        """Another request with the same head, and so the same route, which came whole at `now_ns`."""
        another = Exchange.__new__(Exchange)
        another.method = self.method
        another.raw_path = self.raw_path
        another.raw_query = self.raw_query
        another.raw_headers = self.raw_headers
        another.http_1_0 = self.http_1_0
        another.keep_alive = self.keep_alive
        another.route = self.route
        another._headers = self._headers
        another._query = None
        another._port = port
        another.body = body
        another.started_ns = another.received_ns = now_ns
        another.on_disconnect = None
        another.refusal = None
        return another

    def without_body(self) -> Exchange:
        """The head alone, tied to no connection."""
        head = self.again(_NOWHERE, b"", 0)
        head._headers = Headers(self.raw_headers)
        return head

    @property
    def answered(self) -> bool:
        return self._port is None

    def respond(
        self,
        status: int,
        body: bytes = b"",
        content_type: str = "application/json",
        headers: Sequence[tuple[str, str]] = (),
    ) -> int:
        """Answer; all bytes are handed to the transport at once.

        Returns:
            `time.monotonic_ns` after that.

        Raises:
            RuntimeError: answered already.
            ValueError: a header holds a line break; nothing was sent.
        """
        port = self._port
        if port is None:
            raise RuntimeError(f"{self!r} was answered already")
        replied_ns = port.reply(self, status, body, content_type, headers)
        self._port = None
        return replied_ns


class _Nowhere:
    """The port of an exchange that is nobody's."""

    def reply(
        self,
        exchange: Exchange,
        status: int,
        body: bytes,
        content_type: str,
        headers: Sequence[tuple[str, str]],
    ) -> int:
        raise RuntimeError(f"{exchange!r} has no client")


_NOWHERE = _Nowhere()

Handler = Callable[[Exchange], None]
# A function of the head alone: for a head that is known by its bytes it is not asked again.
Gate = Callable[[RequestHead], Refusal | None]
