from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from beyond_serve.bench.load.arrivals import Arrivals, ClosedLoop, ConstantRate
from beyond_serve.bench.load.drive import GIVE_UP_NS, ClosedDriver, OpenDriver
from beyond_serve.bench.load.error_kinds import ErrorKind
from beyond_serve.bench.load.plan import WirePlan, WorkerPlan, worker_plans
from beyond_serve.bench.load.recorder import Recorder
from beyond_serve.bench.load.rows import Rows, file_size, shared_file
from tests.bench.load.fake_wire import FakeWire
from tests.bench.load.tables import S, spec
from tests.bench.load.virtual import World


def plans(arrivals: Arrivals, **options: Any) -> list[WorkerPlan]:
    return worker_plans(spec(arrivals, **options), WirePlan(False, "", 0, "", (b"x",)))


def rows_of(plan: WorkerPlan) -> Rows:
    descriptor = shared_file(file_size(plan.capacity, traced=False))
    try:
        return Rows(descriptor, plan.capacity, traced=False)
    finally:
        os.close(descriptor)


async def until(condition: Callable[[], bool]) -> None:
    """Turn the loop: what is waited for is a timer of microseconds, or of 20 ms after a failure."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


async def closed(arrivals: ClosedLoop, **options: Any) -> tuple[ClosedDriver, FakeWire, Rows]:
    """A closed loop that has begun."""
    (plan,) = plans(arrivals, **options)
    rows, wire = rows_of(plan), FakeWire()
    driver = ClosedDriver(plan, Recorder(rows, traced=False), wire)
    wire.ended = driver.ended
    driver.start(time.monotonic_ns())
    await until(lambda: bool(wire.sent) or driver.finished.done())
    return driver, wire, rows


async def test_a_closed_loop_keeps_its_concurrency_and_ends_after_its_count() -> None:
    driver, wire, rows = await closed(ClosedLoop(4), duration_s=None, count=10)
    most = 0
    while wire.on_their_way:
        most = max(most, len(wire.on_their_way))
        assert len(wire.on_their_way) == min(4, 10 - len(wire.sent) + len(wire.on_their_way))
        wire.answer(wire.on_their_way[0])
    assert most == 4
    assert [row for row, _ in wire.sent] == list(range(10))
    assert driver.finished.done()
    assert rows.used() == 10
    assert np.all(rows.column("received", end=10) > 0)


async def test_the_next_request_is_scheduled_when_its_predecessor_ended() -> None:
    driver, wire, rows = await closed(ClosedLoop(1), duration_s=None, count=3)
    wire.answer(0, at_ns=time.monotonic_ns())
    assert rows.scheduled[1] == rows.received[0]
    driver.stop()


async def test_a_closed_loop_stops_when_its_time_is_over() -> None:
    driver, wire, rows = await closed(ClosedLoop(2), duration_s=1.0)
    wire.answer(0, at_ns=rows.scheduled[0] + 2 * S)
    assert len(wire.sent) == 2
    assert not driver.finished.done()
    wire.answer(1)
    assert driver.finished.done()


async def test_a_query_ends_with_its_last_sample() -> None:
    driver, wire, rows = await closed(ClosedLoop(1, samples=3), duration_s=None, count=6)
    assert wire.on_their_way == [0, 1, 2]
    wire.answer(2)
    wire.answer(0)
    assert wire.on_their_way == [1]
    wire.answer(1, at_ns=(last := time.monotonic_ns()))
    assert wire.on_their_way == [3, 4, 5]
    assert rows.column("scheduled")[3:6].tolist() == [last] * 3
    for row in (3, 4, 5):
        wire.answer(row)
    assert driver.finished.done()


async def test_a_worker_without_a_share_of_the_count_ends_at_once() -> None:
    first, second = plans(ClosedLoop(2), duration_s=None, count=1, workers=2)
    assert (first.count, second.count) == (1, 0)
    driver = ClosedDriver(second, Recorder(rows_of(second), traced=False), FakeWire())
    driver.start(time.monotonic_ns())
    await driver.finished


async def test_a_place_rests_after_a_connection_failed() -> None:
    driver, wire, _ = await closed(ClosedLoop(1), duration_s=5.0)
    wire.answer(0, ErrorKind.REFUSED)
    assert wire.on_their_way == []
    assert not driver.finished.done()
    await until(lambda: bool(wire.on_their_way))
    wire.answer(1, ErrorKind.TIMEOUT)
    assert wire.on_their_way == [2]
    driver.stop()


async def test_a_server_that_stays_away_is_given_up() -> None:
    driver, wire, rows = await closed(ClosedLoop(2), duration_s=100.0)
    wire.answer(0, ErrorKind.REFUSED, at_ns=rows.scheduled[0] + GIVE_UP_NS // 2)
    assert not driver.gave_up
    wire.answer(1, ErrorKind.REFUSED, at_ns=rows.scheduled[0] + GIVE_UP_NS + S)
    assert driver.gave_up
    await driver.finished


async def test_a_full_table_ends_the_run_and_says_so() -> None:
    (plan,) = plans(ClosedLoop(1), duration_s=5.0)
    plan = replace(plan, choices=plan.choices[:2])
    rows, wire = rows_of(plan), FakeWire()
    driver = ClosedDriver(plan, Recorder(rows, traced=False), wire)
    wire.ended = driver.ended
    driver.start(time.monotonic_ns())
    await until(lambda: bool(wire.sent))
    wire.answer(0)
    assert not driver.full
    wire.answer(1)
    assert driver.full
    assert driver.finished.done()
    assert rows.used() == 2


async def test_an_open_load_sends_each_at_its_time_though_none_is_answered() -> None:
    (plan,) = plans(ConstantRate(100), duration_s=1.0)
    rows, wire, world = rows_of(plan), FakeWire(), World()
    driver = OpenDriver(plan, Recorder(rows, traced=False), wire, world.timer, lambda: world.now)
    wire.ended = driver.ended
    driver.start(S)
    world.run()
    assert len(wire.on_their_way) == 100
    assert not driver.finished.done()
    assert rows.column("scheduled").tolist() == [S + i * 10_000_000 for i in range(100)]
    for row in range(100):
        wire.answer(row)
    assert driver.finished.done()


async def test_a_late_generator_sends_all_that_is_due_at_once() -> None:
    (plan,) = plans(ConstantRate(100), duration_s=1.0)
    wire, world = FakeWire(), World()
    driver = OpenDriver(
        plan, Recorder(rows_of(plan), traced=False), wire, world.timer, lambda: world.now + S // 2
    )
    driver.start(S)
    sent_at_first: list[int] = []
    world.at(S + 1, lambda: sent_at_first.append(len(wire.sent)))
    world.run()
    # Half a second late: what was due by then leaves with the first.
    assert sent_at_first == [51]
    assert len(wire.sent) == 100


async def test_stopping_an_open_load_sends_no_more() -> None:
    (plan,) = plans(ConstantRate(100), duration_s=1.0)
    wire, world = FakeWire(), World()
    driver = OpenDriver(plan, Recorder(rows_of(plan), traced=False), wire, world.timer, lambda: world.now)
    wire.ended = driver.ended
    driver.start(S)
    world.at(S + S // 2 + 1, driver.stop)
    world.run()
    assert len(wire.sent) == 51
    for row in list(wire.on_their_way):
        wire.answer(row)
    await driver.finished


def test_workers_share_concurrency_and_count() -> None:
    shared = plans(ClosedLoop(7), duration_s=None, count=100, workers=3)
    assert [plan.concurrency for plan in shared] == [3, 2, 2]
    assert sum(plan.count or 0 for plan in shared) == 100


def test_workers_share_an_open_schedule() -> None:
    shared = plans(ConstantRate(10), duration_s=1.0, workers=3)
    times = np.concatenate([plan.arrivals for plan in shared if plan.arrivals is not None])
    assert sorted(times.tolist()) == [i * S // 10 for i in range(10)]
