"""First in, first out, for requests that may share a batch."""

from __future__ import annotations

from collections import deque

from beyond_serve.batching.request import Request


class Lane:
    """Requests of one batch key, with when each became ready.

    A request that ends while it waits (expired, cancelled) says so by `forget`; its entry is dropped
    when it is met, or when such entries outnumber the living, so that they never pile up.

    Attributes:
        living: how many requests wait; O(1), since policies ask for every batch.
    """

    def __init__(self) -> None:
        self.living = 0
        self._with_deadline = 0
        self._entries: deque[tuple[int, Request]] = deque()

    def append(self, ready_ns: int, request: Request) -> None:
        request.lane = self
        self.living += 1
        if request.deadline_ns is not None:
            self._with_deadline += 1
        self._entries.append((ready_ns, request))

    def forget(self, request: Request) -> None:
        """`request` waits no longer: it ended, or was taken."""
        request.lane = None
        self.living -= 1
        if request.deadline_ns is not None:
            self._with_deadline -= 1
        if len(self._entries) > 2 * self.living + 64:
            self._entries = deque(entry for entry in self._entries if entry[1].lane is self)

    def head_ns(self) -> int:
        """When the oldest living request became ready. Only while one waits."""
        entries = self._entries
        while entries[0][1].lane is not self:
            entries.popleft()
        return entries[0][0]

    def earliest_deadline_ns(self, limit: int) -> int | None:
        """The earliest deadline among the first `limit` living requests."""
        if not self._with_deadline:
            return None
        earliest: int | None = None
        for _, request in self._entries:
            if request.lane is not self:
                continue
            if request.deadline_ns is not None and (earliest is None or request.deadline_ns < earliest):
                earliest = request.deadline_ns
            limit -= 1
            if limit == 0:
                break
        return earliest

    def take(self, size: int) -> list[Request]:
        """Remove and return the `size` oldest living requests."""
        taken: list[Request] = []
        entries = self._entries
        while entries and len(taken) < size:
            request = entries.popleft()[1]
            if request.lane is self:
                request.lane = None
                if request.deadline_ns is not None:
                    self._with_deadline -= 1
                taken.append(request)
        self.living -= len(taken)
        return taken

    def drain(self) -> list[Request]:
        return self.take(len(self._entries))
