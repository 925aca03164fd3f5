"""How late the event loop is: image work on it, or too much of anything, shows here first."""

from __future__ import annotations

from bisect import bisect_left

from beyond_serve.batching import Clock, Timer

INTERVAL_NS = 100_000_000
# Seconds. libuv's timers count whole milliseconds, so nothing below 1 ms is meant.
BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class LagHistogram:
    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._sum_s = 0.0

    def record(self, lag_s: float) -> None:
        self._counts[bisect_left(BUCKETS_S, lag_s)] += 1
        self._sum_s += lag_s

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulative buckets as (upper bound, count), and the sum in seconds."""
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        return buckets, self._sum_s


class LoopLag:
    """Sets a timer ten times a second and notes how late it fires."""

    def __init__(self, clock: Clock) -> None:
        self.histogram = LagHistogram()
        self._clock = clock
        self._timer: Timer | None = None
        self._due_ns = 0

    def start(self) -> None:
        self._due_ns = self._clock.now_ns() + INTERVAL_NS
        self._timer = self._clock.call_at_ns(self._due_ns, self._fired)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fired(self) -> None:
        self.histogram.record(max(0, self._clock.now_ns() - self._due_ns) / 1e9)
        self.start()
