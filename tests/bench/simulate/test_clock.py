"""Time that passes only when there is nothing left to do."""

from __future__ import annotations

from functools import partial

import pytest

from beyond_serve.bench.simulate.clock import VirtualClock

MS = 1_000_000


def test_what_is_due_at_one_instant_runs_before_time_moves_on() -> None:
    clock, seen = VirtualClock(grain_ns=1), []

    def first() -> None:
        seen.append("timer 1")
        clock.call_soon(lambda: seen.append("soon"))

    clock.call_at_ns(5, first)
    clock.call_at_ns(5, lambda: seen.append("timer 2"))
    clock.call_at_ns(3, lambda: seen.append(f"earlier, at {clock.now_ns()}"))
    clock.run()
    assert seen == ["earlier, at 3", "timer 1", "soon", "timer 2"]
    assert clock.now_ns() == 5


def test_arrivals_of_one_instant_are_seen_together_and_before_its_timers() -> None:
    clock, seen = VirtualClock(grain_ns=1), []

    def arrive(index: int) -> None:
        seen.append((clock.now_ns(), index))
        clock.call_soon(lambda: seen.append("soon"))

    clock.call_at_ns(7, lambda: seen.append("timer"))
    clock.run([2, 7, 7], arrive)
    assert seen == [(2, 0), "soon", (7, 1), (7, 2), "soon", "soon", "timer"]


@pytest.mark.parametrize(("when_ns", "fires_ns"), [(1, MS), (MS, MS), (MS + 1, 2 * MS), (0, 0), (-5, 0)])
def test_the_loop_s_timers_wait_whole_milliseconds_and_never_fire_early(when_ns: int, fires_ns: int) -> None:
    clock, fired = VirtualClock(), []
    clock.call_at_ns(when_ns, lambda: fired.append(clock.now_ns()))
    clock.run()
    assert fired == [fires_ns]


def test_what_is_no_timer_of_the_loop_is_exact() -> None:
    clock, fired = VirtualClock(), []
    clock.call_exactly_at_ns(1_234_567, lambda: fired.append(clock.now_ns()))
    clock.run()
    assert fired == [1_234_567]


def test_a_cancelled_timer_does_not_fire_and_many_do_not_pile_up() -> None:
    clock, most = VirtualClock(), 0

    def arrive(index: int) -> None:
        nonlocal most
        # As a request that is answered long before its deadline.
        timer = clock.call_at_ns(clock.now_ns() + 10_000 * MS, pytest.fail)
        clock.call_exactly_at_ns(clock.now_ns() + MS, timer.cancel)
        most = max(most, len(clock._timers))

    clock.run(range(0, 5_000 * MS, MS), arrive)
    assert most < 700
    assert clock.now_ns() < 5_001 * MS


def test_cancelling_twice_or_after_firing_is_nothing() -> None:
    clock, seen = VirtualClock(), []
    timers = [clock.call_at_ns(n, partial(seen.append, n)) for n in range(2)]
    timers[0].cancel()
    timers[0].cancel()
    assert clock.dead == 1
    clock.run()
    timers[1].cancel()
    assert seen == [1]
    assert clock.dead == 0
