"""All lanes of a batcher, by batch key."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify

from beyond_serve.batching.lane import Lane

# Lanes before empty ones are swept: an invented number.
MOST_LANES = 64


class Lanes(dict[Hashable, Lane]):
    """The lane of a key is made when it is first asked for.

    Clients choose their tensors' shapes, and with them the keys: empty lanes are forgotten before they
    are many.
    """

    def __init__(self, *, by_deadline: bool) -> None:
        super().__init__()
        self._by_deadline = by_deadline
        self._most = MOST_LANES

    def __missing__(self, key: Hashable) -> Lane:
        if len(self) >= self._most:
            for empty in [key for key, lane in self.items() if not lane.living]:
                del self[empty]
            # What was kept is in use: sweeping again pays when there are twice as many.
            self._most = max(MOST_LANES, 2 * len(self))
        lane = self[key] = Lane(by_deadline=self._by_deadline)
        return lane

    def by_urgency(self) -> list[tuple[int, int, Lane]]:
        """A heap of those in which requests wait: how urgent the first is, a number of its own, the lane."""
        if len(self) == 1:
            # Nearly always: not worth a heap's price at every batch.
            (lane,) = self.values()
            return [(0, 0, lane)] if lane.living else []
        heap = [(lane.urgency_ns(), number, lane) for number, lane in enumerate(self.values()) if lane.living]
        heapify(heap)
        return heap
