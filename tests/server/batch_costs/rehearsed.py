"""A model's batcher and instances whose batches take what the test says, in time that the test owns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from beyond_serve.batching import Admission, Batch, Batcher, FixedPolicy, Request, Trace
from beyond_serve.errors import BeyondError
from tests.fakes.clock import FakeClock

MS = 1_000_000


class LoopedClock(FakeClock):
    """Time of the test's own; callbacks run on the test's event loop, as they do in a server."""

    def call_soon(self, callback: Callable[[], None]) -> object:
        return asyncio.get_running_loop().call_soon(callback)


class TimedInstance:
    """A batch takes `takes(size)` ns of the clock, and is reported in a later iteration of the loop."""

    simulated = False
    device = "cpu"

    def __init__(self, name: str, rig: Rig) -> None:
        self.name = name
        self._rig = rig

    def submit(self, batch: Batch) -> None:
        self._rig.sizes.append(len(batch))
        self._rig.instances_used.append(self.name)
        asyncio.get_running_loop().call_soon(self._end, batch)

    def _end(self, batch: Batch) -> None:
        took_ns = self._rig.takes(len(batch))
        self._rig.clock.stall(batch.dispatched_ns + took_ns - self._rig.clock.now_ns())
        batch.error = self._rig.failure(len(batch))
        batch.outputs = None if batch.error is not None else [0] * len(batch)
        self._rig.batcher.batch_done(self, batch)


class Rig:
    """`takes`: ns of a batch; all instances of a round end at the same time. `failure`: its error."""

    def __init__(
        self,
        takes: Callable[[int], int],
        *,
        max_batch: int = 8,
        instances: int = 1,
        failure: Callable[[int], BeyondError | None] = lambda _: None,
    ) -> None:
        self.takes = takes
        self.failure = failure
        self.clock = LoopedClock()
        self.admission = Admission(100)
        self.batcher = Batcher(FixedPolicy(5 * MS), self.admission, self.clock, max_batch=max_batch)
        self.finished: list[Batch] = []
        self.batcher.observer = self
        self.sizes: list[int] = []
        self.instances_used: list[str] = []
        self.requests: list[Request] = []
        for number in range(instances):
            self.batcher.instance_ready(TimedInstance(f"i{number}", self))

    def batch_finished(self, batch: Batch) -> None:
        self.finished.append(batch)

    def make_request(self) -> Request:
        self.requests.append(Request(b"", "image", Trace(0, 0), lambda _: None))
        return self.requests[-1]
