"""Time and later calls, as the batcher needs them; the one seam between it and an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """A monotonic clock in nanoseconds that can call back. Single-threaded."""

    def now_ns(self) -> int: ...

    def call_soon(self, callback: Callable[[], None]) -> object: ...

    def call_at_ns(self, when_ns: int, callback: Callable[[], None]) -> Timer: ...


class LoopClock:
    """`Clock` on a running event loop and `time.monotonic_ns`.

    Timers never fire early: libuv counts whole milliseconds, so a wait is rounded up to the next one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # Bound once: these are called for every request.
        self.call_soon = loop.call_soon
        self.now_ns = time.monotonic_ns

    def call_at_ns(self, when_ns: int, callback: Callable[[], None]) -> Timer:
        wait_ms = -((time.monotonic_ns() - when_ns) // 1_000_000)
        return self._loop.call_later(max(wait_ms, 0) / 1000, callback)
