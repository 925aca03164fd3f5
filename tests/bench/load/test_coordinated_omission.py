"""A server that stands still for a second at 500 requests/s (wrk2's and HdrHistogram's classic)."""

from __future__ import annotations

import os

import numpy as np

from beyond_serve.bench.load.arrivals import ConstantRate
from beyond_serve.bench.load.collect import judged
from beyond_serve.bench.load.drive import OpenDriver
from beyond_serve.bench.load.plan import WirePlan, worker_plans
from beyond_serve.bench.load.recorder import Recorder
from beyond_serve.bench.load.result import LoadResult
from beyond_serve.bench.load.rows import Rows, file_size, shared_file
from beyond_serve.bench.load.table import WorkerRows, read_table
from tests.bench.load.tables import MS, S, spec
from tests.bench.load.virtual import StallingServer, World


async def stalled(connections: int) -> LoadResult:
    """10 s at 500/s, answers in 1 ms, nothing between 4 s and 5 s."""
    given = spec(ConstantRate(500), duration_s=10.0, traces=False)
    (plan,) = worker_plans(given, WirePlan(False, "", 0, "", (b"x",)))
    start = 1 * S  # 0 means "not yet" in a row.
    world = World()
    descriptor = shared_file(file_size(plan.capacity, traced=False))
    rows = Rows(descriptor, plan.capacity, traced=False)
    os.close(descriptor)
    recorder = Recorder(rows, traced=False)
    wire = StallingServer(world, 1 * MS, (start + 4 * S, start + 5 * S), connections)
    driver = OpenDriver(plan, recorder, wire, make_timer=world.timer, clock=lambda: world.now)
    wire.ended, wire.on_sent = driver.ended, recorder.sent
    driver.start(start)
    world.run()
    await driver.finished
    table, names = read_table([WorkerRows(rows, plan.choices, [1])], start, grpc=False)
    return judged(given, table, names, thread_cpu=(0.1,))


def p999_ms(result: LoadResult, key: str) -> float:
    summary = result.summary()[key]
    assert isinstance(summary, dict)
    return float(summary["p99.9"])


async def test_from_the_schedule_a_stall_is_seen_whole() -> None:
    for connections in (1, 10_000):
        result = await stalled(connections)
        assert len(result.measured) == 5000
        assert 950 < p999_ms(result, "latency_ms") < 1010


async def test_from_the_send_one_connection_hides_it() -> None:
    result = await stalled(1)
    from_send = result.measured.latency_from_send_ns
    # One request in five thousand seems to have noticed; a tenth of them did.
    assert np.count_nonzero(from_send > 2 * MS) == 1
    assert np.count_nonzero(result.measured.latency_ns > 2 * MS) > 500
    assert p999_ms(result, "latency_from_send_ms") < 2


async def test_a_generator_that_ran_out_of_connections_voids_the_run() -> None:
    (reason,) = (await stalled(1)).void
    assert "after the schedule" in reason
    assert (await stalled(10_000)).void == ()


async def test_without_a_stall_both_agree() -> None:
    given = await stalled(10_000)
    quiet = given.measured.where(given.measured.scheduled_ns < 3 * S)
    assert np.array_equal(quiet.latency_ns, quiet.latency_from_send_ns)
    assert set(quiet.latency_ns.tolist()) == {MS}
