"""How many requests may wait, and when a refused one should come back."""

from __future__ import annotations

from beyond_serve.errors import QueueFullError


class Admission:
    """Counts what was admitted and does not run yet, over all stages before the instances.

    State: `waiting`, and a drain rate averaged over completions. Owned by the event loop.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.waiting = 0
        self._rate_per_s = 0.0
        self._last_drain_ns = 0

    def enter(self, count: int = 1) -> None:
        """Take `count` places or none.

        Raises:
            QueueFullError: fewer than `count` places are free.
        """
        if self.waiting + count > self.capacity:
            raise QueueFullError(
                f"the queue is full ({self.waiting} of {self.capacity} places taken, {count} asked)",
                "retry later, or raise --max-queue",
                retry_after_s=self.retry_after_s(),
            )
        self.waiting += count

    def leave(self) -> None:
        self.waiting -= 1

    def drained(self, count: int, now_ns: int) -> None:
        """`count` requests were answered: keep the drain rate up to date."""
        if self._last_drain_ns and now_ns > self._last_drain_ns:
            rate = count * 1e9 / (now_ns - self._last_drain_ns)
            # Weight 0.2: an invented number; about the last five batches.
            self._rate_per_s += 0.2 * (rate - self._rate_per_s)
        self._last_drain_ns = now_ns

    def retry_after_s(self) -> int:
        """Whole seconds, 1 to 60, until what waits now has drained."""
        if self._rate_per_s <= 0:
            return 1
        return min(60, max(1, round(self.waiting / self._rate_per_s)))
