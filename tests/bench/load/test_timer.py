from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from beyond_serve.bench.load.timer import KernelTimer, SpinTimer, Timer, open_timer

MAKERS: list[Callable[[asyncio.AbstractEventLoop, Callable[[], None]], Timer]] = [
    KernelTimer,
    SpinTimer,
    open_timer,
]


@pytest.mark.parametrize("make", MAKERS)
async def test_wakes_once_and_not_before_its_time(make: Callable[..., Timer]) -> None:
    woken: list[int] = []
    done = asyncio.Event()

    def wake() -> None:
        woken.append(time.monotonic_ns())
        done.set()

    timer = make(asyncio.get_running_loop(), wake)
    when = time.monotonic_ns() + 3_500_000
    timer.at(when)
    await asyncio.wait_for(done.wait(), 5)
    timer.close()
    assert len(woken) == 1
    assert woken[0] >= when


@pytest.mark.parametrize("make", MAKERS)
async def test_a_time_that_has_passed_is_at_once_and_the_last_one_set_counts(
    make: Callable[..., Timer],
) -> None:
    done = asyncio.Event()
    timer = make(asyncio.get_running_loop(), done.set)
    timer.at(time.monotonic_ns() + 3_600_000_000_000)
    timer.at(time.monotonic_ns() - 1000)
    await asyncio.wait_for(done.wait(), 5)
    timer.close()


@pytest.mark.parametrize("make", MAKERS)
async def test_a_closed_timer_does_not_wake(make: Callable[..., Timer]) -> None:
    loop = asyncio.get_running_loop()
    woken: list[int] = []
    closed = make(loop, lambda: woken.append(1))
    closed.at(time.monotonic_ns() + 500_000)
    closed.close()
    later = asyncio.Event()
    other = make(loop, later.set)
    other.at(time.monotonic_ns() + 1_500_000)
    await asyncio.wait_for(later.wait(), 5)
    other.close()
    assert woken == []
