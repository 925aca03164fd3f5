"""A request body while it arrives."""

from __future__ import annotations


class Body:
    """Collects one body at a time; belongs to a reader and is used again for each request.

    A body of one piece is not copied, one of several is joined once. The pieces of a chunked body are
    gathered in one buffer, for their sender chooses how small they are.

    Attributes:
        received_bytes: the body's bytes so far, discarded or not.
    """

    __slots__ = ("_buffer", "_chunked", "_discarded", "_fed_bytes", "_parts", "received_bytes")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.start()

    def start(self, *, chunked: bool = False, discarded: bool = False) -> None:
        """Forget what came and expect another kind of body than the plain one."""
        self._parts.clear()
        self._buffer = bytearray()
        self._chunked = chunked
        self._discarded = discarded
        self._fed_bytes = -1
        self.received_bytes = 0

    def add(self, data: bytes) -> None:
        self.received_bytes += len(data)
        if self._discarded:
            return
        if self._chunked:
            self._buffer += data
        else:
            self._parts.append(data)

    def take(self) -> bytes:
        """The body, all of which has arrived. It is the caller's from now on, and the next one may start."""
        parts = self._parts
        if len(parts) == 1:
            self.received_bytes = 0
            return parts.pop()
        body = bytes(self._buffer) if self._chunked else b"".join(parts)
        self.start()
        return body

    def is_mostly_framing(self, fed_bytes: int, allowed_bytes: int) -> bool:
        """Whether chunk headers, extensions and trailers outgrow what they frame.

        Args:
            fed_bytes: input that was just read, and ended inside the body. The first piece does not
                count: the head and earlier requests may lie in it.
            allowed_bytes: framing that is fine however small the body. Beyond it, seven bytes for one.
        """
        if not self._chunked:
            return False
        if self._fed_bytes < 0:
            self._fed_bytes = 0
        else:
            self._fed_bytes += fed_bytes
        return self._fed_bytes > allowed_bytes + 8 * self.received_bytes
