"""Heads that were read before, recognised by their bytes.

A client repeats its request's head from request to request and changes only the body. A head that llhttp
parsed and every check passed means the same the next time, so of the next request with the same bytes
only the body is cut off. What stands in a head decides where its body ends, so this holds for framing too.
"""

from __future__ import annotations

from beyond_serve.server.http.exchange import Exchange

# Invented numbers: a client's head has some hundred bytes, and many clients send few different ones.
LONGEST_HEAD = 1024
MOST_HEADS = 256

_END = b"\r\n\r\n"
# What makes a request more than a head and a body of known length, or its head one of a kind.
_NOT_PLAIN = (b"transfer-encoding", b"expect", b"upgrade", b"connection", b"traceparent")


class KnownHead:
    """`example` is an exchange that had this head; `size` of head and body together, in bytes."""

    __slots__ = ("example", "head_bytes", "size")

    def __init__(self, example: Exchange, head_bytes: int, size: int) -> None:
        self.example = example
        self.head_bytes = head_bytes
        self.size = size


class KnownHeads:
    """Shared by the connections of a server. State: the heads, at most `MOST_HEADS`."""

    def __init__(self) -> None:
        self._heads: dict[bytes, KnownHead] = {}

    def find(self, data: bytes) -> KnownHead | None:
        """What is known of the head at the start of `data`, if `data` is just one whole request."""
        end = data.find(_END, 0, LONGEST_HEAD)
        known = self._heads.get(data[: end + 4]) if end > 0 else None
        return known if known is not None and known.size == len(data) else None

    def remember(self, data: bytes, exchange: Exchange) -> None:
        """`data` was read from its first byte to its last as the one request `exchange`."""
        end = data.find(_END, 0, LONGEST_HEAD)
        headers = exchange.raw_headers
        if end < 0 or exchange.refusal is not None or exchange.http_1_0 or not exchange.keep_alive:
            return
        if len(data) != end + 4 + len(exchange.body) or any(name in headers for name in _NOT_PLAIN):
            return
        if len(self._heads) >= MOST_HEADS:
            self._heads.clear()
        self._heads[data[: end + 4]] = KnownHead(exchange.without_body(), end + 4, len(data))
