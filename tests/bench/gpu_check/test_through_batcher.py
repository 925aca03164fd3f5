"""The closed loop on the real batcher, slots, threads and CudaEngine, with a fake GPU."""

from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.bench.gpu_check.closed_loop import BatchMarks, ClosedLoop, LoopRun, filled_arena, run_loop
from beyond_serve.bench.gpu_check.resident import ResidentProgram, random_rows
from beyond_serve.bench.gpu_check.through_batcher import (
    THROUGHPUT_COLUMNS,
    Throughput,
    Windows,
    overhead_check,
    overhead_us,
    throughput,
    throughput_checks,
    throughput_rows,
    which_wins,
)
from beyond_serve.bench.gpu_check.trace_borders import border_fault, busy_share, span_rows, sum_fault
from beyond_serve.errors import BeyondError
from tests.bench.gpu_check.fake_engine import MAX_BATCH, World
from tests.engines.cuda.fake_network import BYTE_INPUT, float_input
from tests.engines.cuda.fake_runtime import ILLEGAL_ADDRESS

RNG = np.random.default_rng(0)


def test_every_batch_is_full_and_traced() -> None:
    world = World()

    async def main() -> LoopRun:
        arena = filled_arena(world.engine, 3 * MAX_BATCH, RNG)
        async with ClosedLoop(world.engine, arena, instances=2, max_batch=MAX_BATCH) as loop:
            found = await loop.run(0.05, 3 * MAX_BATCH)
        assert arena.free_count == 3 * MAX_BATCH
        return found

    found = run_loop(main())
    world.engine.close()
    assert world.runtime.alive == 0
    assert sum(batch.size for batch in found.batches) == len(found.latencies_ns)
    assert {batch.size for batch in found.batches[:5]} == {MAX_BATCH}
    assert border_fault(found.batches) == sum_fault(found.batches) == ""
    assert 0 < busy_share(found.batches) <= 1


def test_a_failing_request_ends_the_run() -> None:
    world = World()

    async def main() -> None:
        arena = filled_arena(world.engine, 4, RNG)
        async with ClosedLoop(world.engine, arena, instances=1, max_batch=1) as loop:
            world.runtime.fail_next("upload", ILLEGAL_ADDRESS)
            await loop.run(60, 1)

    with pytest.raises(BeyondError, match="lost"):
        run_loop(main())


def test_instances_that_cannot_start() -> None:
    world = World()
    world.runtime.fail_next("create_stream", ILLEGAL_ADDRESS)

    async def main() -> None:
        arena = filled_arena(world.engine, 4, RNG)
        async with ClosedLoop(world.engine, arena, instances=1, max_batch=1):
            pytest.fail("it has started")

    with pytest.raises(BeyondError, match="cudaErrorIllegalAddress"):
        run_loop(main())


def test_beside_the_engine_alone() -> None:
    world = World()
    windows = Windows(rounds=2, seconds=0.02)

    async def main() -> tuple[Throughput, tuple[float, float]]:
        arena = filled_arena(world.engine, 3 * MAX_BATCH, RNG)
        with ResidentProgram(
            world.runtime, world.network, random_rows(world.network, MAX_BATCH, RNG)
        ) as alone:
            found = await throughput(world.engine, arena, alone, 2, windows)
        with ResidentProgram(world.runtime, world.network, random_rows(world.network, 1, RNG)) as alone:
            return found, await overhead_us(world.engine, arena, alone, windows)

    found, (bare, whole) = run_loop(main())
    assert found.alone > 0
    assert found.batch_mean > 1
    assert len(throughput_rows("fake", [found])[0]) == len(THROUGHPUT_COLUMNS)
    assert bare > 0
    assert whole > 0


@pytest.mark.parametrize("given", [BYTE_INPUT, float_input("FP16"), float_input("BF16")])
def test_random_rows_are_as_the_network_stores_them(given) -> None:
    network = World(BYTE_INPUT).network
    network.input = given
    rows = random_rows(network, 3, RNG)
    assert rows.shape == (3, *given.shape[1:])
    assert rows.dtype == {"UINT8": np.uint8, "FP16": np.float16, "BF16": np.uint16}[given.datatype]
    assert len(np.unique(rows)) > 10


def test_a_resident_program_gives_all_back() -> None:
    world = World()
    before = world.runtime.alive
    with ResidentProgram(world.runtime, world.network, random_rows(world.network, 4, RNG)) as alone:
        assert alone.rate(3) > 0
        assert world.network.programs[-1].enqueued == [4, 4]
    assert world.runtime.alive == before
    assert world.network.programs[-1].closed


def measured(instances: int, share: float, busy: float = 0.9) -> Throughput:
    return Throughput(instances, 1000.0, 1000.0 * share, busy, 128.0, {})


def test_verdicts() -> None:
    found = [measured(1, 0.92), measured(2, 0.95)]
    assert [check.met for check in throughput_checks("vit", found, 1)] == [True, True]
    assert [check.met for check in throughput_checks("vit", [measured(1, 0.89), measured(2, 0.95)], 1)] == [
        False,
        True,
    ]
    assert [check.met for check in throughput_checks("vit", [measured(1, 0.95), measured(2, 0.92)], 2)] == [
        True,
        False,
    ]
    assert overhead_check("vit", 900, 1049).met
    assert not overhead_check("vit", 900, 1051).met
    assert not overhead_check("vit", 900, float("nan")).met


def test_who_wins_and_why() -> None:
    assert "1 instance is best: with 1 the device infers 95.0 %" in which_wins(
        "vit", [measured(1, 0.95, 0.95), measured(2, 0.9)]
    )
    assert "2 instances are best, 10.0 % over 1" in which_wins("vit", [measured(1, 0.9), measured(2, 0.99)])


def marks(*times: int) -> BatchMarks:
    return BatchMarks(4, *times)


def test_borders() -> None:
    good = marks(10, 11, 12, 15, 16, 17, 20)
    assert border_fault([good]) == ""
    assert border_fault([good, marks(10, 11, 0, 15, 16, 17, 20)]) == "batch 1 lacks copied_in"
    assert border_fault([marks(10, 11, 16, 15, 16, 17, 20)]) == (
        "batch 0: inferred lies 1 ns before what it follows"
    )
    assert border_fault([marks(10, 11, 12, 15, 16, 17, 16)]).startswith("batch 0: ended")
    assert span_rows([good])[2] == ("infer", 0.003, 0.003, 0.003)
    assert span_rows([]) == []


def test_overlapping_inference_is_counted_once() -> None:
    one, two = marks(0, 0, 10, 60, 100, 100, 100), marks(0, 0, 40, 80, 100, 100, 100)
    assert busy_share([one, two]) == 0.7
    assert busy_share([two, one]) == 0.7
    assert np.isnan(busy_share([]))


def test_rate_is_of_the_steady_batches() -> None:
    batches = [marks(0, 0, 0, 0, 0, 0, ended) for ended in (0, 1000, 9000)]
    assert LoopRun(batches, [], 2).rate == 4e6
    assert np.isnan(LoopRun(batches, [], 1).rate)
    assert np.isnan(LoopRun([], [], 0).rate)
