"""Preallocated rows of batch input: decoders write them, instances read them, nobody copies them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import Request
from beyond_serve.engines.protocol import IMAGE

Rows = NDArray[np.generic]


class ArenaSlot:
    """One row. Its owner is whoever acquired it, until `free`."""

    __slots__ = ("_arena", "array", "index")

    def __init__(self, arena: SlotArena, index: int) -> None:
        self._arena = arena
        self.index = index
        self.array: NDArray[np.uint8] = arena.array[index]

    def free(self) -> None:
        self._arena.release(self)


class SlotArena:
    """A fixed number of rows, and with it the budget of decoded bytes in flight.

    Rows are handed out in the order in which they came back, so that rows of one batch tend to lie
    side by side. State: the free rows; owned by the event loop.

    Attributes:
        array: uint8 [count, H, W, 3]; may lie in memory shared with child processes.
        on_free: called after a row came back.
    """

    def __init__(self, count: int, shape: tuple[int, int, int], buffer: memoryview | None = None) -> None:
        self.array: NDArray[np.uint8] = (
            np.zeros((count, *shape), np.uint8)
            if buffer is None
            else np.frombuffer(buffer, np.uint8, count * int(np.prod(shape))).reshape(count, *shape)
        )
        self.on_free: Callable[[], None] | None = None
        self._free = deque(ArenaSlot(self, index) for index in range(count))

    @property
    def free_count(self) -> int:
        return len(self._free)

    def acquire(self) -> ArenaSlot | None:
        return self._free.popleft() if self._free else None

    def release(self, slot: ArenaSlot) -> None:
        self._free.append(slot)
        if self.on_free is not None:
            self.on_free()


class SlotRows:
    """Rows of an arena as a batch. `indices` ascend, so that neighbours are seen as one block."""

    key = IMAGE

    def __init__(self, array: NDArray[np.uint8], indices: Sequence[int]) -> None:
        self._array = array
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def stacked(self) -> Rows:
        first, count = self.indices[0], len(self.indices)
        if self.indices[-1] - first == count - 1:
            return self._array[first : first + count]
        return self._array[list(self.indices)]

    def rows(self) -> Sequence[Rows | bytes]:
        return [self._array[index] for index in self.indices]

    def runs(self) -> Sequence[Rows]:
        return [self._array[start:stop] for start, stop in neighbours(self.indices)]


def neighbours(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending indices as half-open ranges [start, stop), as few as there can be."""
    ranges: list[tuple[int, int]] = []
    start = stop = -1
    for index in indices:
        if index != stop:
            if stop > start:
                ranges.append((start, stop))
            start = index
        stop = index + 1
    return [*ranges, (start, stop)] if stop > start else ranges


class PayloadRows:
    """Rows that clients sent: tensors of one shape, or encoded images."""

    def __init__(self, key: object, payloads: Sequence[Rows | bytes]) -> None:
        self.key = key
        self._payloads = payloads

    def __len__(self) -> int:
        return len(self._payloads)

    def stacked(self) -> Rows:
        if len(self._payloads) == 1:
            return np.asarray(self._payloads[0])[np.newaxis]
        return np.stack([np.asarray(payload) for payload in self._payloads])

    def rows(self) -> Sequence[Rows | bytes]:
        return self._payloads

    def runs(self) -> Sequence[Rows]:
        return [np.ascontiguousarray(payload)[np.newaxis] for payload in self._payloads]


def rows_of(requests: list[Request], key: object, arena: SlotArena | None) -> SlotRows | PayloadRows:
    """The batch input of `requests`. Sorts them by slot: a batch has no order of its own."""
    if key == IMAGE and arena is not None:
        requests.sort(key=_slot_index)
        return SlotRows(arena.array, [_slot_index(request) for request in requests])
    return PayloadRows(key, [request.payload for request in requests])


def _slot_index(request: Request) -> int:
    slot = request.slot
    assert isinstance(slot, ArenaSlot)
    return slot.index
