"""Compiled once, awaited by all who came early, tried again after a failure."""

from __future__ import annotations

import asyncio
import threading

from beyond_serve.errors import BeyondError, EngineError
from beyond_serve.server.tensor_preparation import TensorPreparation


async def outcome(preparation: TensorPreparation) -> BeyondError | None:
    told: asyncio.Future[BeyondError | None] = asyncio.get_running_loop().create_future()
    preparation.when_ready(told.set_result)
    return await asyncio.wait_for(told, 10)


async def test_all_who_come_early_wait_for_one_preparation_off_the_loop() -> None:
    threads: list[threading.Thread] = []
    preparation = TensorPreparation(lambda: threads.append(threading.current_thread()))
    assert await asyncio.gather(*(outcome(preparation) for _ in range(3))) == [None, None, None]
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_later_ones_are_served_at_once() -> None:
    preparation = TensorPreparation(lambda: None)
    await outcome(preparation)
    told: list[BeyondError | None] = []
    preparation.when_ready(told.append)
    assert told == [None]


async def test_a_failure_is_told_and_tried_again() -> None:
    failures: list[Exception] = [ValueError("no memory"), EngineError("still none")]

    def prepare() -> None:
        if failures:
            raise failures.pop(0)

    preparation = TensorPreparation(prepare)
    first = await outcome(preparation)
    assert isinstance(first, EngineError)
    assert "no memory" in first.message
    second = await outcome(preparation)
    assert second is not None
    assert second.message == "still none"
    assert await outcome(preparation) is None
