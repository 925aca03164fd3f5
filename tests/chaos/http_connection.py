"""HTTP/1.1 by hand, so that an answer that nobody asked for is seen."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple, cast


class HttpAnswer(NamedTuple):
    """`headers`: by their names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class AnswerReader:
    """Cuts a stream of bytes into answers. State: the bytes that are no whole answer yet."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[HttpAnswer]:
        self.rest += data
        answers: list[HttpAnswer] = []
        while (answer := self._next()) is not None:
            # "100 Continue" and its like announce an answer and are none.
            if answer.status >= 200:
                answers.append(answer)
        return answers

    def _next(self) -> HttpAnswer | None:
        head, end, rest = self.rest.partition(b"\r\n\r\n")
        if not end:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", "0"))
        if len(rest) < size:
            return None
        self.rest = rest[size:]
        return HttpAnswer(int(first.split(" ", 2)[1]), headers, rest[:size])


class HttpConnection(asyncio.Protocol):
    """One connection; requests may be pipelined, and answers belong to them in order.

    Attributes:
        unasked: answers, and beginnings of answers, that came while no request was open.
    """

    def __init__(self) -> None:
        self.unasked = 0
        self.closed = asyncio.get_running_loop().create_future()
        self._reader = AnswerReader()
        self._open: deque[asyncio.Future[HttpAnswer]] = deque()

    @classmethod
    async def connect(cls, host: str, port: int) -> HttpConnection:
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    def send(self, *parts: bytes) -> asyncio.Future[HttpAnswer]:
        """Send a request; its answer fails with ConnectionError if the server closes first."""
        answer: asyncio.Future[HttpAnswer] = asyncio.get_running_loop().create_future()
        self._open.append(answer)
        self.push(*parts)
        return answer

    def push(self, *parts: bytes) -> None:
        """Send bytes that are not, or not yet, a request."""
        self._transport.writelines(parts)

    def finish_sending(self) -> None:
        self._transport.write_eof()

    def leave(self) -> None:
        """Close at once, whatever is open."""
        self._transport.abort()

    @property
    def usable(self) -> bool:
        return not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        for answer in self._reader.feed(data):
            if not self._open:
                self.unasked += 1
            elif not (waiting := self._open.popleft()).done():
                waiting.set_result(answer)
        if self._reader.rest and not self._open:
            self.unasked += 1

    def connection_lost(self, exc: Exception | None) -> None:
        for waiting in self._open:
            if not waiting.done():
                waiting.set_exception(ConnectionResetError("the server closed before it answered"))
        self._open.clear()
        if not self.closed.done():
            self.closed.set_result(None)


def post(path: str, body: bytes, **headers: str) -> tuple[bytes, bytes]:
    """Head and body of a POST; a header's underscores become hyphens."""
    lines = [f"POST {path} HTTP/1.1", "Host: chaos", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "", "")).encode(), body
