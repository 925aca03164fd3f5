"""Measuring l(n) through a model's own batcher, with time that moves only by what batches take."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

import pytest

from beyond_serve.batching import Request
from beyond_serve.batching.cost import grid
from beyond_serve.errors import BeyondError, EngineError, InstanceLostError
from beyond_serve.server.batch_costs.measure import LEAST_ROUNDS, MOST_ROUNDS, measured_costs
from tests.fakes.batching import FakeInstance, FakeSlot
from tests.server.batch_costs.rehearsed import MS, Rig


def linear(size: int) -> int:
    return 2 * MS + size * MS


async def test_each_size_takes_what_it_takes_and_is_run_often() -> None:
    rig = Rig(linear)
    entries = await measured_costs(rig.batcher, rig.make_request, grid(8), rig.clock)
    assert entries == {size: linear(size) for size in (1, 2, 3, 4, 6, 8)}
    assert Counter(rig.sizes) == dict.fromkeys(entries, 1 + MOST_ROUNDS)
    assert rig.sizes == sorted(rig.sizes)


async def test_all_instances_run_at_once() -> None:
    rig = Rig(linear, instances=3)
    entries = await measured_costs(rig.batcher, rig.make_request, [1, 2], rig.clock)
    assert entries == {1: linear(1), 2: linear(2)}
    used = rig.instances_used
    assert all(len(set(used[i : i + 3])) == 3 for i in range(0, len(used), 3))


async def test_the_warm_up_and_a_stall_do_not_count() -> None:
    calls = Counter[int]()

    def takes(size: int) -> int:
        calls[size] += 1
        return {1: 100 * MS, 3: 80 * MS}.get(calls[size], linear(size))

    rig = Rig(takes)
    entries = await measured_costs(rig.batcher, rig.make_request, [1, 2], rig.clock)
    assert entries == {1: linear(1), 2: linear(2)}


async def test_it_leaves_no_trace_in_the_model() -> None:
    rig = Rig(linear)
    cost = rig.batcher.cost
    await measured_costs(rig.batcher, rig.make_request, [1, 4], rig.clock)
    assert rig.finished == []
    assert rig.batcher.cost is cost
    assert not cost.known
    assert rig.batcher.arrivals.count == 0
    assert rig.admission.waiting == 0
    assert all(request.done for request in rig.requests)
    rig.batcher.enqueue(rig.make_request())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not rig.batcher.batches_running, "the model's own policy waits again"


async def test_the_budget_is_kept_and_small_sizes_come_first(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(lambda size: 20 * MS * size)
    caplog.set_level(logging.INFO)
    began_ns = rig.clock.now_ns()
    entries = await measured_costs(rig.batcher, rig.make_request, grid(64), rig.clock, budget_s=1)
    assert rig.clock.now_ns() - began_ns <= 1100 * MS
    assert list(entries) == [1, 2, 3, 4]
    assert Counter(rig.sizes)[2] == 1 + LEAST_ROUNDS
    assert "batches from 6 on were not measured: the time for measuring is spent" in caplog.text


async def test_a_model_slower_than_the_budget_is_told_by_its_first_batch() -> None:
    rig = Rig(lambda size: 5000 * MS * size)
    entries = await measured_costs(rig.batcher, rig.make_request, grid(64), rig.clock, budget_s=1)
    assert entries == {1: 5000 * MS}
    assert rig.sizes == [1]


async def test_a_first_batch_that_takes_the_rest_of_the_budget_is_no_measurement() -> None:
    rig = Rig(lambda size: MS if size == 1 else 3000 * MS)
    entries = await measured_costs(rig.batcher, rig.make_request, grid(8), rig.clock, budget_s=1)
    assert entries == {1: MS}
    assert rig.sizes[-1] == 2


async def test_it_ends_where_larger_batches_only_get_slower(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(lambda size: MS if size <= 4 else MS * size * size // 8, max_batch=64)
    caplog.set_level(logging.INFO)
    entries = await measured_costs(rig.batcher, rig.make_request, grid(64), rig.clock)
    assert list(entries) == [1, 2, 3, 4, 6, 8, 12]
    assert "below 80% of the best" in caplog.text


async def test_one_slow_size_does_not_end_it_and_does_not_raise_the_larger_ones() -> None:
    rig = Rig(lambda size: 4 * MS if size == 3 else 2 * MS)
    entries = await measured_costs(rig.batcher, rig.make_request, grid(8), rig.clock)
    assert entries == dict.fromkeys([1, 2, 3, 4, 6, 8], 2 * MS)


@pytest.mark.parametrize("error", [EngineError("out of memory"), InstanceLostError("out of memory")])
async def test_a_failing_size_ends_it_with_what_there_is(
    error: BeyondError, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(linear, failure=lambda size: error if size == 4 else None)
    slots: list[FakeSlot] = []

    def make_request() -> Request:
        request = rig.make_request()
        slots.append(FakeSlot())
        request.slot = slots[-1]
        return request

    entries = await measured_costs(rig.batcher, make_request, grid(8), rig.clock)
    assert list(entries) == [1, 2, 3]
    assert "batches from 4 on were not measured: out of memory" in caplog.text
    assert Counter(rig.sizes)[4] == 1, "nothing is tried again one by one"
    assert {slot.freed for slot in slots} == {1}


async def test_without_instances_there_is_nothing_to_measure(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(linear, instances=0)
    assert await measured_costs(rig.batcher, rig.make_request, grid(8), rig.clock) == {}
    assert "no instance is ready" in caplog.text


async def test_cancelled_it_ends_its_requests_and_gives_the_batcher_back() -> None:
    rig = Rig(linear, instances=0)
    stuck = FakeInstance("stuck", rig.batcher, rig.clock)
    rig.batcher.instance_ready(stuck)
    task = asyncio.create_task(measured_costs(rig.batcher, rig.make_request, [2], rig.clock))
    for _ in range(3):  # the task's first step, then the batcher's decision
        await asyncio.sleep(0)
    assert stuck.running is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(request.done for request in rig.requests)
    assert rig.batcher.observer is rig
