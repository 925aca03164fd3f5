"""How much may wait, and when a refused request should come back."""

from __future__ import annotations

from beyond_serve.batching.levels import Levels
from beyond_serve.errors import QueueFullError

_ONE_LEVEL = Levels(1)


class Admission:
    """Counts what was admitted and does not run yet, over all stages before the instances.

    State: the requests and bytes that wait, and a drain rate averaged over completions. Owned by the
    event loop.

    Guarantee: for every level, those of that level and below it that wait never take more than its places.

    Attributes:
        capacity: places for requests of the default level.
        waiting: requests, of all levels.
        held_bytes: of their encoded images or tensors.
    """

    def __init__(self, capacity: int, levels: Levels = _ONE_LEVEL, max_bytes: int = 1 << 62) -> None:
        self.capacity = capacity
        self.levels = levels
        self.max_bytes = max_bytes
        self.waiting = 0
        self.held_bytes = 0
        self._places = levels.places(capacity)
        self._waiting_at = [0] * levels.count
        self._drained = 0.0
        self._drained_in_ns = 0.0
        # When requests were last answered, 0 if none waited then.
        self._last_drain_ns = 0

    def enter(self, count: int = 1, level: int = 1, size: int = 0) -> None:
        """Take `count` places on `level` (from 1) and `size` bytes, or nothing.

        Raises:
            QueueFullError: fewer than `count` places or `size` bytes are free.
        """
        # Its places are places of every level above it as well.
        waiting = self.waiting
        for above in range(level):
            places = self._places[above]
            if waiting + count > places:
                raise QueueFullError(
                    f"the queue is full ({waiting} of {places} places taken, {count} asked)",
                    "retry later, or raise --max-queue",
                    retry_after_s=self.retry_after_s(),
                )
            waiting -= self._waiting_at[above]
        # What is larger than the budget may still pass alone: bodies have a limit of their own.
        if self.held_bytes and self.held_bytes + size > self.max_bytes:
            raise QueueFullError(
                f"the queue is full ({self.held_bytes} of {self.max_bytes} bytes taken, {size} asked)",
                "retry later, or raise --max-queue-mb",
                retry_after_s=self.retry_after_s(),
            )
        self.waiting += count
        self.held_bytes += size
        self._waiting_at[level - 1] += count

    def places(self, level: int) -> int:
        """How many requests of `level` could wait at once, if nobody else did."""
        return min(self._places[:level])

    def leave(self, level: int = 1, size: int = 0) -> None:
        """One request waits no longer."""
        self.waiting -= 1
        self.held_bytes -= size
        self._waiting_at[level - 1] -= 1

    def ahead(self, level: int) -> int:
        """How many wait that go before a new request of `level`."""
        return sum(self._waiting_at[:level])

    def drained(self, count: int, now_ns: int) -> None:
        """`count` requests were answered: keep the drain rate up to date."""
        if self._last_drain_ns:
            # Weight 0.2: an invented number; about the last five batches. Counts and times are averaged
            # apart: batches of two instances may end at almost the same time.
            self._drained += 0.2 * (count - self._drained)
            self._drained_in_ns += 0.2 * (now_ns - self._last_drain_ns - self._drained_in_ns)
        # Where nothing waits, the time until the next answer tells of arrivals and not of draining.
        self._last_drain_ns = now_ns if self.waiting else 0

    def retry_after_s(self) -> int:
        """Whole seconds, 1 to 60, until what waits now has drained."""
        if self._drained <= 0:
            return 1
        each_s = self._drained_in_ns / self._drained / 1e9
        return min(60, max(1, round(self.waiting * each_s)))
