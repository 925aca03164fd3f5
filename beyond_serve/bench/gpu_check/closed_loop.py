"""Requests through the real batcher, slots and instances in this process: no network, no decoding."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from beyond_serve.batching import Admission, Batch, Batcher, FixedPolicy, LoopClock, Request, Trace
from beyond_serve.engines.group import InstanceGroup
from beyond_serve.engines.instance import InstanceEvents, RunningInstance, ThreadInstance
from beyond_serve.engines.protocol import IMAGE, Engine
from beyond_serve.engines.slots import SlotArena
from beyond_serve.errors import BeyondError, EngineError, ShuttingDownError

T = TypeVar("T")


class BatchMarks(NamedTuple):
    """One batch; nanoseconds of `time.monotonic_ns`, as they were stamped."""

    size: int
    dispatched: int
    started: int
    copied_in: int
    inferred: int
    copied_out: int
    postprocessed: int
    ended: int


class LoopRun(NamedTuple):
    """
    Attributes:
        batches: in the order in which they ended.
        latencies_ns: of each request, from being enqueued to its answer.
        steady: so many batches ended while all requests were still under way.
    """

    batches: list[BatchMarks]
    latencies_ns: list[int]
    steady: int

    @property
    def rate(self) -> float:
        """Rows a second between the ends of the first and the last steady batch; NaN with fewer than two."""
        batches = self.batches[: self.steady]
        if len(batches) < 2 or batches[-1].ended <= batches[0].ended:
            return float("nan")
        return sum(batch.size for batch in batches[1:]) * 1e9 / (batches[-1].ended - batches[0].ended)

    @property
    def batch_mean(self) -> float:
        return sum(batch.size for batch in self.batches) / len(self.batches) if self.batches else 0.0


def filled_arena(engine: Engine, count: int, rng: np.random.Generator) -> SlotArena:
    """Random rows, which `engine` has adopted: it may be asked once."""
    shape = engine.info.image_shape
    assert shape is not None, "an engine that takes no rows of pixels"
    arena = SlotArena(count, shape)
    arena.array[:] = rng.integers(0, 256, arena.array.shape, np.uint8)
    engine.adopt_rows(arena.array)
    return arena


class ClosedLoop:
    """Instances of one engine, kept busy: whoever gets an answer asks again. An async context manager.

    Owned by the event loop. `arena` has a row for every request in flight.
    """

    def __init__(
        self, engine: Engine, arena: SlotArena, *, instances: int, max_batch: int, top_k: int = 5
    ) -> None:
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop)
        self._arena = arena
        self._top_k = top_k
        self._batcher = Batcher(FixedPolicy(), Admission(arena.free_count), clock, max_batch=max_batch)
        self._batcher.observer = self

        def make(name: str, events: InstanceEvents) -> RunningInstance:
            return ThreadInstance(name, engine, events, loop, arena)

        names = [f"gpu-check-{number}" for number in range(instances)]
        self._group = InstanceGroup(names, make, self._batcher, clock)
        self._changed = asyncio.Event()
        self._group.on_change = self._instances_changed
        self._batches: list[BatchMarks] = []
        self._latencies: list[int] = []
        self._open = 0
        self._steady = 0
        self._running = False
        self._error: BeyondError | None = None
        self._idle = asyncio.Event()

    async def __aenter__(self) -> ClosedLoop:
        """Raises:
        BeyondError: an instance cannot start.
        """
        self._group.start()
        while self._group.alive < self._group.size:
            self._changed.clear()
            await self._changed.wait()
            if self._error is not None:
                await self._close()
                raise self._error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def run(self, seconds: float, in_flight: int) -> LoopRun:
        """Keep `in_flight` requests under way for `seconds`, then wait for the last.

        Raises:
            BeyondError: a request failed.
        """
        assert in_flight <= self._arena.free_count, "more requests than rows"
        self._batches, self._latencies = [], []
        self._running = True
        self._idle.clear()
        for _ in range(in_flight):
            self._ask()
        timer = asyncio.get_running_loop().call_later(seconds, self._stop)
        await self._idle.wait()
        timer.cancel()
        if self._error is not None:
            raise self._error
        return LoopRun(self._batches, self._latencies, self._steady)

    def batch_finished(self, batch: Batch) -> None:
        """As the batcher's observer."""
        timing = batch.timing
        marks = (timing.started, timing.copied_in, timing.inferred, timing.copied_out, timing.postprocessed)
        self._batches.append(BatchMarks(len(batch), batch.dispatched_ns, *marks, time.monotonic_ns()))

    def _instances_changed(self) -> None:
        self._changed.set()
        if self._group.last_error is not None:
            # A server would try again; a measurement with a loss in it says nothing.
            self._error = self._group.last_error
            self._batcher.stop(self._error)
            self._stop()

    def _ask(self) -> None:
        now = time.monotonic_ns()
        request = Request(None, IMAGE, Trace(now, now), self._answered, top_k=self._top_k)
        request.slot = self._arena.acquire()
        self._open += 1
        self._batcher.enqueue(request)

    def _answered(self, request: Request) -> None:
        self._latencies.append(time.monotonic_ns() - request.trace.started)
        self._open -= 1
        if request.error is not None:
            self._error = request.error
            self._stop()
        elif request.outputs is None:
            self._error = EngineError("a request ended without outputs")
            self._stop()
        if self._running:
            self._ask()
        elif not self._open:
            self._idle.set()

    def _stop(self) -> None:
        if self._running:
            self._running, self._steady = False, len(self._batches)
        if not self._open:
            self._idle.set()

    async def _close(self) -> None:
        self._batcher.stop(ShuttingDownError("the measurement is over"))
        loop = asyncio.get_running_loop()
        for instance in self._group.close():
            await loop.run_in_executor(None, instance.close)


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """On uvloop where it is installed, as the server does."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
