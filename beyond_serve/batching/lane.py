"""Requests that may share a batch, in the order in which they would."""

from __future__ import annotations

from bisect import insort
from collections import deque

from beyond_serve.batching.request import Request

NEVER_NS = 1 << 62
"""The deadline of a request that has none."""

UNDATED_NS = 10_000_000_000
"""In order of deadlines a request without one stands where one of ten seconds would: an invented number."""

# (key, number, when it became ready, request): the key decides, then arrival; requests are never compared.
_Entry = tuple[int, int, int, Request]


class Lane:
    """Requests of one batch key, each with when it became ready.

    The order is by arrival, or by deadline; a request's handicap moves it back (see `Levels`). Keys do
    not change, so FIFO holds within a level and nothing can be overtaken for ever.

    A request that ends while it waits (expired, cancelled) says so by `forget`; its entry is dropped
    when it is met, or when such entries outnumber the living, so that they never pile up.

    Attributes:
        living: how many requests wait; O(1), since policies ask for every batch.
    """

    def __init__(self, *, by_deadline: bool = False) -> None:
        self.living = 0
        self._by_deadline = by_deadline
        self._with_deadline = 0
        self._number = 0
        self._last_key_ns = 0
        self._entries: deque[_Entry] = deque()
        # In order of arrival; only kept while the entries are in another order.
        self._by_age: deque[_Entry] | None = None

    def append(self, ready_ns: int, request: Request) -> None:
        request.lane = self
        self.living += 1
        deadline_ns = request.deadline_ns
        if deadline_ns is not None:
            self._with_deadline += 1
        key_ns = ready_ns + request.handicap_ns
        if self._by_deadline:
            key_ns = (deadline_ns or ready_ns + UNDATED_NS) + request.handicap_ns
        self._number += 1
        entry = (key_ns, self._number, ready_ns, request)
        if key_ns >= self._last_key_ns or not self._entries:
            self._last_key_ns = key_ns
            self._entries.append(entry)
        else:
            if self._by_age is None:
                self._by_age = deque(sorted(self._entries, key=_number))
            insort(self._entries, entry)
        if self._by_age is not None:
            self._by_age.append(entry)
            if len(self._by_age) > 2 * self.living + 64:
                self._sweep()

    def forget(self, request: Request) -> None:
        """`request` waits no longer: it ended."""
        request.lane = None
        self.living -= 1
        if request.deadline_ns is not None:
            self._with_deadline -= 1
        if len(self._entries) > 2 * self.living + 64:
            self._sweep()

    def head_ns(self) -> int:
        """When the oldest living request became ready. Only while one waits."""
        entries = self._entries if self._by_age is None else self._by_age
        while entries[0][3].lane is not self:
            entries.popleft()
        return entries[0][2]

    def urgency_ns(self) -> int:
        """Where its first living request stands in the order; lanes of one model compare by it. Only while
        one waits."""
        entries = self._entries
        while entries[0][3].lane is not self:
            entries.popleft()
        return entries[0][0]

    def first(self) -> Request:
        """The living request that would be taken first, left in its place. Only while one waits."""
        entries = self._entries
        while entries[0][3].lane is not self:
            entries.popleft()
        return entries[0][3]

    def earliest_deadline_ns(self, limit: int) -> int | None:
        """The earliest deadline among the first `limit` living requests."""
        if not self._with_deadline:
            return None
        earliest = min(self.deadlines_ns(limit))
        return None if earliest == NEVER_NS else earliest

    def deadlines_ns(self, limit: int) -> list[int]:
        """The deadlines of the first `limit` living requests, in the lane's order; NEVER_NS for none."""
        if limit >= self.living:
            return [
                NEVER_NS if request.deadline_ns is None else request.deadline_ns
                for _, _, _, request in self._entries
                if request.lane is self
            ]
        found: list[int] = []
        for _, _, _, request in self._entries:
            if request.lane is self:
                found.append(NEVER_NS if request.deadline_ns is None else request.deadline_ns)
                if len(found) == limit:
                    break
        return found

    def take(self, size: int) -> list[Request]:
        """Remove and return the first `size` living requests."""
        taken: list[Request] = []
        entries = self._entries
        while entries and len(taken) < size:
            request = entries.popleft()[3]
            if request.lane is self:
                request.lane = None
                if request.deadline_ns is not None:
                    self._with_deadline -= 1
                taken.append(request)
        self.living -= len(taken)
        if not self.living:
            entries.clear()
            self._by_age = None
        return taken

    def drain(self) -> list[Request]:
        return self.take(self.living)

    def _sweep(self) -> None:
        """Drop the entries of requests that wait here no longer."""
        self._entries = deque(entry for entry in self._entries if entry[3].lane is self)
        if self._by_age is not None:
            self._by_age = deque(sorted(self._entries, key=_number))


def _number(entry: _Entry) -> int:
    return entry[1]
