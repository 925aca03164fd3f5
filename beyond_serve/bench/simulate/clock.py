"""Time that passes only when there is nothing left to do at its present."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush

NEVER_NS = 1 << 62

_MS = 1_000_000
_KEPT = 256


class VirtualTimer:
    """A call to come. Cancelling it costs next to nothing; its entry is dropped when it is met, or swept."""

    __slots__ = ("_clock", "callback")

    def __init__(self, clock: VirtualClock, callback: Callable[[], None]) -> None:
        self._clock = clock
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self._clock.dead += 1


class VirtualClock:
    """`batching.Clock` in virtual time, with the event loop's promises.

    Whatever is due at one instant runs before time moves on: first what was asked to run soon, then the
    timers of that instant in the order in which they were set, each followed by what it asked to run soon.

    State: the timers and what runs soon. Single-threaded.

    Guarantee: cancelled timers are never more than the living ones and `_KEPT`, so deadlines of requests
    that were answered do not pile up.

    Attributes:
        dead: timers that were cancelled and have an entry still.
    """

    def __init__(self, grain_ns: int = _MS) -> None:
        """
        Args:
            grain_ns: a timer's wait is rounded up to whole ones, as `LoopClock`'s is to milliseconds; 1 for
                exact timers.
        """
        self.dead = 0
        self._grain_ns = grain_ns
        self._now_ns = 0
        self._soon: deque[Callable[[], None]] = deque()
        # Bound once: called for every request.
        self.call_soon: Callable[[Callable[[], None]], object] = self._soon.append
        self._timers: list[tuple[int, int, VirtualTimer]] = []
        self._number = 0

    def now_ns(self) -> int:
        return self._now_ns

    def call_at_ns(self, when_ns: int, callback: Callable[[], None]) -> VirtualTimer:
        """As the event loop would, on whole milliseconds from now."""
        wait_ns, grain_ns = when_ns - self._now_ns, self._grain_ns
        if wait_ns > 0:
            wait_ns = -(-wait_ns // grain_ns) * grain_ns
        return self.call_exactly_at_ns(self._now_ns + wait_ns, callback)

    def call_exactly_at_ns(self, when_ns: int, callback: Callable[[], None]) -> VirtualTimer:
        """For what is no timer of the loop: a thread that is through, a request that comes."""
        self._number += 1
        timer = VirtualTimer(self, callback)
        heappush(self._timers, (when_ns, self._number, timer))
        if self.dead > _KEPT and 2 * self.dead > len(self._timers):
            self._sweep()
        return timer

    def run(self, times: Sequence[int] = (), arrive: Callable[[int], None] | None = None) -> None:
        """Let time pass until nothing is left to come.

        Args:
            times: when requests arrive, ascending nanoseconds; no timers, for there are millions.
            arrive: called at each of them with its index. Those of one instant are seen together.
        """
        soon, index, last = self._soon, 0, len(times)
        while True:
            while soon:
                soon.popleft()()
            timers = self._timers
            while timers and timers[0][2].callback is None:
                heappop(timers)
                self.dead -= 1
            timer_ns = timers[0][0] if timers else NEVER_NS
            if index < last and times[index] <= timer_ns:
                assert arrive is not None
                self._now_ns = now_ns = max(times[index], self._now_ns)
                while index < last and times[index] <= now_ns:
                    arrive(index)
                    index += 1
            elif timers:
                self._fire(timer_ns, heappop(timers)[2])
            else:
                return

    def _fire(self, when_ns: int, timer: VirtualTimer) -> None:
        self._now_ns = max(when_ns, self._now_ns)
        callback, timer.callback = timer.callback, None
        assert callback is not None
        callback()

    def _sweep(self) -> None:
        self._timers = [entry for entry in self._timers if entry[2].callback is not None]
        heapify(self._timers)
        self.dead = 0
