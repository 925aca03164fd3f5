from __future__ import annotations

import asyncio
import threading
import weakref
from typing import Any

import pytest

from beyond_serve.errors import ShuttingDownError
from beyond_serve.preprocess.pool import WorkerPool


class CountingLoop:
    """A loop that only counts and keeps what other threads schedule; drained by hand."""

    def __init__(self) -> None:
        self.scheduled: list[Any] = []
        self.arrived = threading.Condition()
        self.failures: list[dict[str, Any]] = []

    def call_soon_threadsafe(self, callback: Any) -> None:
        with self.arrived:
            self.scheduled.append(callback)
            self.arrived.notify_all()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(context)


async def test_results_and_errors_come_back_on_the_loop() -> None:
    loop = asyncio.get_running_loop()
    pool = WorkerPool(2, loop, "test")
    ended: asyncio.Future[None] = loop.create_future()
    seen: dict[str, Any] = {}

    def done(name: str, result: Any, error: BaseException | None) -> None:
        assert asyncio.get_running_loop() is loop
        seen[name] = (result, type(error))
        if len(seen) == 3:
            ended.set_result(None)

    def fail(error: BaseException) -> None:
        raise error

    pool.submit(lambda: threading.current_thread().name[:5], lambda r, e: done("value", r, e))
    pool.submit(lambda: fail(ValueError("bad")), lambda r, e: done("error", r, e))
    pool.submit(lambda: fail(SystemExit()), lambda r, e: done("exit", r, e))
    await ended
    assert seen == {
        "value": ("test-", type(None)),
        "error": (None, ValueError),
        "exit": (None, SystemExit),
    }
    assert repr(pool) == "<WorkerPool 2/2 threads, 0 jobs waiting>"
    pool.close()
    pool.close()
    assert repr(pool).startswith("<WorkerPool 0/2")
    with pytest.raises(ShuttingDownError, match="closed"):
        pool.submit(int, lambda _r, _e: None)


async def test_every_job_of_a_hammered_pool_ends_once() -> None:
    loop = asyncio.get_running_loop()
    pool = WorkerPool(4, loop)
    jobs = 10_000
    seen = [0] * jobs
    left = jobs
    ended: asyncio.Future[None] = loop.create_future()

    def done(index: int | None, error: BaseException | None) -> None:
        nonlocal left
        assert error is None
        assert index is not None
        seen[index] += 1
        left -= 1
        if left == 0:
            ended.set_result(None)

    for index in range(jobs):
        pool.submit(lambda index=index: index, done)  # type: ignore[misc]
        if index % 1000 == 0:
            await asyncio.sleep(0)
    await asyncio.wait_for(ended, 20)
    assert seen == [1] * jobs
    pool.close()


def test_results_that_end_while_the_loop_is_busy_cost_one_callback() -> None:
    loop = CountingLoop()
    pool = WorkerPool(2, loop)  # type: ignore[arg-type]
    results: list[int | None] = []
    for index in range(100):
        pool.submit(lambda index=index: index, lambda r, _e: results.append(r))  # type: ignore[misc]
    pool.close()
    assert len(loop.scheduled) == 1
    loop.scheduled[0]()
    assert sorted(results) == list(range(100))  # type: ignore[type-var]


def test_a_result_after_a_drain_is_signalled_again() -> None:
    loop = CountingLoop()
    pool = WorkerPool(1, loop)  # type: ignore[arg-type]
    results: list[int | None] = []
    for round_ in range(3):
        pool.submit(lambda round_=round_: round_, lambda r, _e: results.append(r))  # type: ignore[misc]
        with loop.arrived:
            assert loop.arrived.wait_for(lambda round_=round_: len(loop.scheduled) == round_ + 1, 10)
        loop.scheduled[round_]()
    assert results == [0, 1, 2]
    pool.close()


def test_a_callback_that_fails_takes_no_other_with_it() -> None:
    loop = CountingLoop()
    pool = WorkerPool(1, loop)  # type: ignore[arg-type]
    results: list[str] = []

    def broken(_result: object, _error: object) -> None:
        raise KeyError("callback")

    pool.submit(int, broken)
    pool.submit(int, lambda _r, _e: results.append("second"))
    pool.close()
    loop.scheduled[0]()
    assert results == ["second"]
    assert isinstance(loop.failures[0]["exception"], KeyError)


def test_an_idle_worker_keeps_no_job_alive() -> None:
    class Payload:
        pass

    loop = CountingLoop()
    pool = WorkerPool(1, loop)  # type: ignore[arg-type]
    payload = Payload()
    freed = threading.Event()
    alive = weakref.ref(payload, lambda _: freed.set())
    pool.submit(lambda payload=payload: payload, lambda _r, _e: None)  # type: ignore[misc]
    with loop.arrived:
        assert loop.arrived.wait_for(lambda: loop.scheduled, 10)
    loop.scheduled[0]()
    del payload
    assert freed.wait(10)
    assert alive() is None
    pool.close()


def test_a_closed_loop_ends_no_worker() -> None:
    loop = asyncio.new_event_loop()
    pool = WorkerPool(1, loop)
    loop.close()
    pool.submit(int, lambda _r, _e: None)
    pool.submit(int, lambda _r, _e: None)
    pool.close()
    assert repr(pool).startswith("<WorkerPool 0/1")


def test_a_pool_needs_a_thread() -> None:
    with pytest.raises(ValueError, match="at least one"):
        WorkerPool(0, CountingLoop())  # type: ignore[arg-type]
