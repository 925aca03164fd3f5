"""First in, first out, for requests that may share a batch."""

from __future__ import annotations

from collections import deque

from beyond_serve.batching.request import Request


class Lane:
    """Requests of one batch key, with when each became ready.

    A request that ended while it waited (expired, cancelled) is dropped when it is met; the lane
    is swept when such requests outnumber the living, so that dead entries never pile up.
    """

    def __init__(self) -> None:
        self._entries: deque[tuple[int, Request]] = deque()
        self._sweep_at = 64

    def append(self, ready_ns: int, request: Request) -> None:
        self._entries.append((ready_ns, request))
        if len(self._entries) > self._sweep_at:
            self._entries = deque(entry for entry in self._entries if not entry[1].done)
            self._sweep_at = max(64, 2 * len(self._entries))

    def head_ns(self) -> int | None:
        """When the oldest living request became ready, or None if none waits."""
        entries = self._entries
        while entries and entries[0][1].done:
            entries.popleft()
        return entries[0][0] if entries else None

    def count(self, limit: int) -> int:
        """How many living requests wait, counted up to `limit`."""
        found = 0
        for _, request in self._entries:
            if not request.done:
                found += 1
                if found == limit:
                    break
        return found

    def earliest_deadline_ns(self, limit: int) -> int | None:
        """The earliest deadline among the first `limit` living requests."""
        earliest: int | None = None
        for _, request in self._entries:
            if request.done:
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
            if not request.done:
                taken.append(request)
        return taken

    def drain(self) -> list[Request]:
        return self.take(len(self._entries))
