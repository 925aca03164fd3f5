"""Virtual time: a driver, its timer and its server as events in a heap. Nothing waits."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count

from beyond_serve.bench.load.error_kinds import ErrorKind
from beyond_serve.bench.load.wire import Ended


class World:
    def __init__(self) -> None:
        self.now = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, when: int, call: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(when, self.now), next(self._order), call))

    def run(self) -> None:
        while self._events:
            self.now, _, call = heapq.heappop(self._events)
            call()

    def timer(self, _loop: object, wake: Callable[[], None]) -> VirtualTimer:
        return VirtualTimer(self, wake)


class VirtualTimer:
    def __init__(self, world: World, wake: Callable[[], None]) -> None:
        self._world, self._wake = world, wake
        self._set = 0

    def at(self, when_ns: int) -> None:
        self._set += 1
        mine = self._set
        self._world.at(when_ns, lambda: self._wake() if mine == self._set else None)

    def close(self) -> None:
        self._set += 1


class StallingServer:
    """A wire to a server that answers in `service_ns`, one request per connection at a time, and answers
    nothing between `stall` and its end. Requests beyond `connections` wait in the generator."""

    def __init__(self, world: World, service_ns: int, stall: tuple[int, int], connections: int) -> None:
        self._world, self._service_ns, self._stall = world, service_ns, stall
        self._free = connections
        self._waiting: deque[int] = deque()
        self.ended: Ended = lambda *_: None
        self.on_sent: Callable[[int, int], None] = lambda *_: None

    async def open(self, connections: int) -> None: ...

    def send(self, row: int, image: int) -> int:
        if not self._free:
            self._waiting.append(row)
            return 0
        self._free -= 1
        start, end = self._stall
        began = end if start <= self._world.now < end else self._world.now
        self._world.at(began + self._service_ns, lambda: self._answer(row))
        return self._world.now

    def _answer(self, row: int) -> None:
        self._free += 1
        self.ended(row, self._world.now, 200, ErrorKind.NONE, 100, None)
        if self._waiting:
            waiting = self._waiting.popleft()
            self.on_sent(waiting, self.send(waiting, 0))

    def expire(self, now_ns: int) -> None: ...

    def abandon(self) -> None: ...

    async def close(self) -> None: ...
