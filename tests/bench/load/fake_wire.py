"""A wire that answers when the test says so."""

from __future__ import annotations

import time

from beyond_serve.bench.load.error_kinds import ErrorKind
from beyond_serve.bench.load.wire import Ended


class FakeWire:
    def __init__(self) -> None:
        self.on_their_way: list[int] = []
        self.sent: list[tuple[int, int]] = []
        self.ended: Ended = lambda *_: None

    async def open(self, connections: int) -> None: ...

    def send(self, row: int, image: int) -> int:
        self.on_their_way.append(row)
        self.sent.append((row, image))
        return time.monotonic_ns()

    def answer(self, row: int, kind: ErrorKind = ErrorKind.NONE, at_ns: int | None = None) -> None:
        self.on_their_way.remove(row)
        self.ended(row, time.monotonic_ns() if at_ns is None else at_ns, 200, kind, 10, None)

    def expire(self, now_ns: int) -> None: ...

    def abandon(self) -> None: ...

    async def close(self) -> None: ...
