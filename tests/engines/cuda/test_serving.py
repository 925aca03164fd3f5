"""Batcher, slots, instances and a GPU engine together, on a real loop: each image gets one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from beyond_serve.batching import Admission, Batcher, FixedPolicy, Request, Timer, Trace
from beyond_serve.engines.cuda.engine import CudaEngine
from beyond_serve.engines.group import InstanceGroup
from beyond_serve.engines.instance import ThreadInstance
from beyond_serve.engines.protocol import IMAGE
from beyond_serve.engines.slots import SlotArena
from beyond_serve.errors import InstanceLostError
from tests.engines.cuda.fake_network import HEIGHT, WIDTH, expected
from tests.engines.cuda.fake_runtime import FakeRuntime
from tests.engines.cuda.test_engine import make_engine


class HastyClock:
    """`batching.Clock` on the loop, where every timer is due at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._now_ns = 0

    def now_ns(self) -> int:
        self._now_ns += 1
        return self._now_ns

    def call_soon(self, callback: Callable[[], None]) -> object:
        return self._loop.call_soon(callback)

    def call_at_ns(self, when_ns: int, callback: Callable[[], None]) -> Timer:
        self._now_ns = max(self._now_ns, when_ns)
        return self._loop.call_soon(callback)


class Served:
    """A model of `instances` threads on a fake GPU, and what became of each image.

    Args:
        engines: the first that is not lost is used: another takes over where a process would.
    """

    def __init__(self, engines: list[CudaEngine], instances: int) -> None:
        loop = asyncio.get_running_loop()
        self.clock = HastyClock(loop)
        self.arena = SlotArena(40, (HEIGHT, WIDTH, 3))
        self.engines = list(engines)
        for engine in engines:
            engine.adopt_rows(self.arena.array)
        self.admission = Admission(1000)
        self.batcher = Batcher(FixedPolicy(0), self.admission, self.clock, max_batch=8)
        self.group = InstanceGroup(
            [f"i{number}" for number in range(instances)],
            lambda name, events: ThreadInstance(name, self._engine(), events, loop, self.arena),
            self.batcher,
            self.clock,
        )
        self.freed = asyncio.Event()
        self.arena.on_free = self.freed.set
        self.answered = 0
        self.lost = 0
        self.ended: asyncio.Queue[Request] = asyncio.Queue()

    def _engine(self) -> CudaEngine:
        if len(self.engines) > 1 and self.engines[0].lost:
            self.engines.pop(0)
        return self.engines[0]

    async def all_ready(self) -> None:
        while self.group.alive < self.group.size:
            await self.change()

    async def change(self) -> None:
        changed = asyncio.Event()
        self.group.on_change = changed.set
        await changed.wait()

    async def offer(self, count: int, seed: int, top_k: int) -> None:
        """`count` images as fast as slots come free; every answer is checked as it ends."""
        rows = np.random.default_rng(seed).integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)
        logits = expected(rows.transpose(0, 3, 1, 2))
        offered: dict[int, int] = {}
        for index, row in enumerate(rows):
            while (slot := self.arena.acquire()) is None:
                self.freed.clear()
                await self.freed.wait()
            slot.array[...] = row
            request = Request(index, IMAGE, Trace(0, 0), self.ended.put_nowait, top_k=top_k)
            request.slot = slot
            offered[id(request)] = index
            self.batcher.enqueue(request)
        for _ in range(count):
            request = await self.ended.get()
            self._check(request, logits[offered.pop(id(request))])
        assert not offered

    def _check(self, request: Request, logits: np.ndarray) -> None:
        if request.error is not None:
            assert isinstance(request.error, InstanceLostError), request.error
            self.lost += 1
            return
        self.answered += 1
        if request.top_k:
            assert request.outputs.top_indices[request.index, 0] == logits.argmax()
        else:
            given = request.outputs.tensors["logits"][request.index]
            np.testing.assert_allclose(given, logits, rtol=1e-5, atol=0.01)

    async def close(self) -> None:
        for instance in self.group.close():
            await asyncio.to_thread(instance.close)


async def test_images_are_answered_by_two_instances() -> None:
    runtime = FakeRuntime()
    engine = make_engine(runtime)
    served = Served([engine], 2)
    served.group.start()
    await served.all_ready()
    await served.offer(300, 1, 0)
    await served.offer(300, 2, 3)
    assert (served.answered, served.lost) == (600, 0)
    await served.close()
    engine.close()
    assert runtime.alive == 0


@pytest.mark.parametrize("call", ["wait", "launch", "upload", "elapsed_ns"])
async def test_a_sticky_error_answers_all_and_costs_two_batches_at_most(call: str) -> None:
    engines = [make_engine(FakeRuntime()), make_engine(FakeRuntime())]
    served = Served(engines, 2)
    served.group.start()
    await served.all_ready()
    await served.offer(50, 0, 0)
    engines[0].runtime.fail_next(call, 700)
    await served.offer(100, 1, 0)
    await served.all_ready()
    await served.offer(100, 2, 1)
    # Who was lost with its batch runs once more, and may meet the other instance, which is lost as well.
    assert served.lost <= 8
    assert served.answered + served.lost == 250
    assert served.engines == [engines[1]]
    assert engines[0].runtime.calls.count("reset") == 1
    assert served.arena.free_count == 40
    await served.close()
    for engine in engines:
        engine.close()
        assert engine.runtime.alive == 0


async def test_an_engine_that_nothing_replaces_says_so() -> None:
    engine = make_engine(FakeRuntime())
    served = Served([engine], 1)
    served.group.start()
    await served.all_ready()
    engine.runtime.fail_next("wait", 719)
    # Nobody gives up for the image: that is the model's part.
    offered = asyncio.create_task(served.offer(1, 0, 1))
    while not served.group.given_up:
        await served.change()
    offered.cancel()
    assert isinstance(served.group.last_error, InstanceLostError)
    assert "lost to this process" in served.group.last_error.message
    await served.close()
