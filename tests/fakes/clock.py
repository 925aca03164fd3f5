"""A clock that moves only when told, with the event loop's promises."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable


class FakeTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """`batching.Clock` under the test's control.

    `call_soon` callbacks run in order at `settle`; timers run in time order at `advance`, each at its
    own time, with everything it caused settled before the next.
    """

    def __init__(self, now_ns: int = 1_000_000_000) -> None:
        self._now_ns = now_ns
        self._soon: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[int, int, FakeTimer]] = []
        self._order = itertools.count()

    def now_ns(self) -> int:
        return self._now_ns

    def call_soon(self, callback: Callable[[], None]) -> object:
        self._soon.append(callback)
        return None

    def call_at_ns(self, when_ns: int, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(callback)
        heapq.heappush(self._timers, (when_ns, next(self._order), timer))
        return timer

    def settle(self) -> None:
        """Run what was asked to run soon, and what that asks for."""
        while self._soon:
            self._soon.popleft()()

    def advance(self, by_ns: int) -> None:
        """Move time forward and run every timer that comes due on the way."""
        self.settle()
        end_ns = self._now_ns + by_ns
        while self._timers and self._timers[0][0] <= end_ns:
            when_ns, _, timer = heapq.heappop(self._timers)
            self._now_ns = max(self._now_ns, when_ns)
            if timer.callback is not None:
                timer.callback()
                self.settle()
        self._now_ns = end_ns

    def stall(self, by_ns: int) -> None:
        """Time passes and nothing runs: the loop is held up."""
        self._now_ns += by_ns

    def next_timer_ns(self) -> int | None:
        """When the next living timer is due."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None
