"""A fixed number of places, for which threads and coroutines can wait alike."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from contextlib import suppress

from beyond_serve.errors import ShuttingDownError


class Places:
    """`count` places, handed out in the order in which they were asked for. Safe on all threads.

    State: how many are free, and who waits; nobody waits while one is free. Guarded by the lock; futures are
    resolved outside it, because that runs other people's callbacks.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError("at least one place is needed")
        self.count = count
        self._free = count
        self._waiting: deque[Future[None]] = deque()
        self._closed = False
        self._changed = threading.Condition()

    @property
    def taken(self) -> int:
        return self.count - self._free

    def take(self) -> Future[None]:
        """A future that is done when the caller has a place. Give up waiting by `give_up`.

        Raises:
            ShuttingDownError: closed; also the end of futures that wait when it closes.
        """
        place: Future[None] = Future()
        with self._changed:
            if self._closed:
                raise _closed()
            if not self._free:
                self._waiting.append(place)
                return place
            self._free -= 1
        place.set_result(None)
        return place

    def give_up(self, place: Future[None]) -> None:
        """Wait no longer, or give the place back if it was handed over meanwhile."""
        if place.cancel():
            with self._changed, suppress(ValueError):
                self._waiting.remove(place)
        elif place.exception() is None:
            self.free()

    def free(self) -> None:
        """Give a place back."""
        while True:
            with self._changed:
                if not self._waiting:
                    self._free += 1
                    self._changed.notify_all()
                    return
                place = self._waiting.popleft()
            if place.set_running_or_notify_cancel():
                place.set_result(None)
                return

    def close(self) -> None:
        """Hand out no more."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
        for place in waiting:
            if place.set_running_or_notify_cancel():
                place.set_exception(_closed())

    def join(self) -> None:
        """Block until all places are free."""
        with self._changed:
            self._changed.wait_for(lambda: self._free == self.count)


def _closed() -> ShuttingDownError:
    return ShuttingDownError("the pool is closed")
