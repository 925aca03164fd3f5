"""Measuring goes through the model's own batcher and leaves no trace in it."""

from __future__ import annotations

import asyncio

from beyond_serve.batching import Admission, Batch, BatchCost, Batcher, FixedPolicy, Request, Trace
from beyond_serve.errors import EngineError
from beyond_serve.server.batch_costs.measure import measured_costs
from tests.fakes.batching import FakeInstance
from tests.fakes.clock import FakeClock

MS = 1_000_000


class TimedInstance(FakeInstance):
    """Takes 1 ms and 0.1 ms for each request, on a clock that runs ahead as it works."""

    fails_from = 1 << 30

    def submit(self, batch: Batch) -> None:
        super().submit(batch)
        asyncio.get_running_loop().call_soon(self._end, batch)

    def _end(self, batch: Batch) -> None:
        self._clock.stall(MS + len(batch) * MS // 10)
        self.complete(EngineError("no") if len(batch) >= self.fails_from else None)


class LoopedClock(FakeClock):
    """What is to run soon runs on the real loop; time is the test's."""

    def call_soon(self, callback: object) -> object:
        return asyncio.get_running_loop().call_soon(callback)


class World:
    def __init__(self, instances: int = 1, max_batch: int = 32) -> None:
        self.clock = LoopedClock()
        self.batcher = Batcher(FixedPolicy(), Admission(4), self.clock, max_batch=max_batch)
        self.instances = [TimedInstance(f"i{n}", self.batcher, self.clock) for n in range(instances)]
        for instance in self.instances:
            self.batcher.instance_ready(instance)

    def request(self) -> Request:
        return Request(b"", "image", Trace(0, 0), lambda _: None)

    async def measure(self, *sizes: int, budget_s: float = 2.0) -> dict[int, float]:
        async with asyncio.timeout(5):
            return await measured_costs(self.batcher, self.request, sizes, self.clock, budget_s)


async def test_each_size_is_measured_as_live_batches_are() -> None:
    world = World()
    entries = await world.measure(1, 2, 8, 32)
    assert entries == {size: MS + size * MS / 10 for size in (1, 2, 8, 32)}


async def test_nothing_is_learned_or_counted_by_the_batcher_itself() -> None:
    world = World()
    cost = world.batcher.cost
    await world.measure(1, 4)
    assert world.batcher.cost is cost
    assert not cost.known
    assert world.batcher.arrivals.count == 0


async def test_every_instance_runs_a_batch_at_the_same_time() -> None:
    world = World(instances=2)
    entries = await world.measure(1)
    assert len(world.instances[0].batches) == len(world.instances[1].batches) > 1
    assert set(entries) == {1}


async def test_it_ends_with_the_budget_and_the_first_size_is_told_whatever_it_takes() -> None:
    world = World()
    assert set(await world.measure(1, 2, 4, budget_s=1e-9)) == {1}


async def test_it_ends_where_batches_fail() -> None:
    world = World()
    world.instances[0].fails_from = 4
    assert set(await world.measure(1, 2, 4, 8)) == {1, 2}


async def test_without_an_instance_there_is_nothing() -> None:
    assert await World(instances=0).measure(1, 2) == {}


def test_a_cost_starts_from_what_was_measured() -> None:
    cost = BatchCost(32, {1: 1.1 * MS, 8: 1.8 * MS})
    assert (cost.latency_ns(1), cost.latency_ns(8)) == (round(1.1 * MS), round(1.8 * MS))
