"""From a start to the next one: with fakes, and with the demo model's real engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from beyond_serve.batching import Admission, BatchCost, Batcher, FixedPolicy, LoopClock
from beyond_serve.demo.location import demo_model
from beyond_serve.engines.group import InstanceGroup
from beyond_serve.engines.instance import ThreadInstance
from beyond_serve.engines.load import EngineConfig, load_engine
from beyond_serve.engines.protocol import ENCODED, IMAGE
from beyond_serve.engines.slots import SlotArena
from beyond_serve.errors import EngineError
from beyond_serve.preprocess.header import read_header
from beyond_serve.server.batch_costs.key import cost_key
from beyond_serve.server.batch_costs.probe_requests import request_maker
from beyond_serve.server.batch_costs.store import CostStore
from beyond_serve.server.batch_costs.table import CostTable, open_costs
from tests.fakes.clock import FakeClock
from tests.server.batch_costs.keys import KEY
from tests.server.batch_costs.rehearsed import MS, Rig


async def opened(rig: Rig, store: CostStore) -> CostTable:
    return await open_costs(rig.batcher, rig.make_request, rig.clock, store, KEY)


async def test_a_second_start_runs_no_batch(tmp_path: Path) -> None:
    store = CostStore(tmp_path / "model.onnx", {})
    first, second = Rig(lambda size: size * MS), Rig(lambda size: size * MS)
    table = await opened(first, store)
    assert table.entries == {size: size * MS for size in (1, 2, 3, 4, 6, 8)}
    assert first.batcher.cost.latency_ns(5) == 5 * MS
    again = await opened(second, store)
    assert second.sizes == []
    assert again.entries == table.entries
    assert second.batcher.cost.latency_ns(5) == 5 * MS


async def test_nothing_measured_is_nothing_stored(tmp_path: Path) -> None:
    store = CostStore(tmp_path / "model.onnx", {})
    rig = Rig(lambda size: size * MS, failure=lambda _: EngineError("no such luck"))
    table = await opened(rig, store)
    assert table.entries == {}
    assert not rig.batcher.cost.known
    live = BatchCost(8)
    live.observe(1, MS)
    table.save(live)
    assert not store.path.exists(), "what one size hints at is no table"


def test_what_live_batches_taught_is_kept_for_measured_sizes_only(tmp_path: Path) -> None:
    store = CostStore(tmp_path / "model.onnx", {})
    found: dict[int, float] = {1: 2.0 * MS, 2: 3.0 * MS, 8: 8.0 * MS}
    live = BatchCost(4, found)
    for _ in range(50):
        live.observe(1, MS)
    CostTable(store, KEY, found).save(live)
    saved = store.load(KEY)
    assert saved is not None
    assert list(saved) == [1, 2, 8], "3 and 4 were never measured"
    assert saved[1] == pytest.approx(MS, rel=0.05)
    assert saved[8] == 8 * MS, "the live table ends at 4"


@pytest.mark.parametrize("shape", [(8, 6, 3)])
def test_rows_of_an_arena_are_written_and_returned(shape: tuple[int, int, int]) -> None:
    arena = SlotArena(3, shape)
    make = request_maker(IMAGE, arena, FakeClock())
    requests = [make() for _ in range(3)]
    assert [request.batch_key for request in requests] == [IMAGE] * 3
    assert arena.free_count == 0
    assert arena.array.reshape(3, -1).std(axis=1).min() > 0
    for request in requests:
        assert request.slot is not None
        request.slot.free()
    assert arena.free_count == 3


def test_encoded_requests_hold_a_jpeg() -> None:
    request = request_maker(ENCODED, None, FakeClock())()
    assert request.batch_key == ENCODED
    assert read_header(request.payload).format == "jpeg"


async def test_the_demo_model_on_its_real_engine(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    engine = load_engine(EngineConfig(str(demo_model()), threads=1, max_batch=4))
    assert engine.info.image_shape is not None
    clock, arena = LoopClock(loop), SlotArena(8, engine.info.image_shape)
    batcher = Batcher(FixedPolicy(), Admission(10), clock, max_batch=4)
    group = InstanceGroup(
        ["demo-0"], lambda name, events: ThreadInstance(name, engine, events, loop, arena), batcher, clock
    )
    ready = loop.create_future()
    group.on_change = lambda: ready.set_result(None)
    group.start()
    await ready
    key = cost_key(demo_model(), engine.info, threads=1, instances=1, instance_kind="thread", max_batch=4)
    store = CostStore(tmp_path / "digits.onnx", {})
    make = request_maker(IMAGE, arena, clock)
    try:
        table = await open_costs(batcher, make, clock, store, key, budget_s=0.05)
    finally:
        for instance in group.close():
            instance.close()
        engine.close()
    assert 1 in table.entries
    assert batcher.cost.known
    # A digit takes some 0.1 ms; a second would be no measurement of it.
    assert 1_000 < table.entries[1] < 1_000_000_000
    assert store.load(key) == pytest.approx(table.entries)
    assert arena.free_count == 8
    assert batcher.batches_running == 0
