"""Turns on a device: by weight, without starvation, never idle while somebody waits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.batching import DeviceShare
from tests.fakes.clock import FakeClock


class Model:
    """Always has work while `busy`; asks for as many turns as it has instances, as a batcher would."""

    def __init__(self, share: DeviceShare, clock: FakeClock, weight: float, batch_ns: int, free: int) -> None:
        self.busy = True
        self.weight = weight
        self.batch_ns = batch_ns
        self.used_ns = 0
        self.starts: list[int] = []
        self._share = share
        self._clock = clock
        self._free = free
        self._member = share.join(weight, lambda: clock.call_soon(self.pump))

    @property
    def could_run(self) -> bool:
        return self.busy and self._free > 0

    def pump(self) -> None:
        while self.could_run:
            if not self._share.ask(self._member):
                return
            self._free -= 1
            self.starts.append(self._clock.now_ns())
            self._clock.call_at_ns(self._clock.now_ns() + self.batch_ns, self._done)
        self._share.withdraw(self._member)

    def _done(self) -> None:
        self._free += 1
        self.used_ns += self.batch_ns
        self._share.ended(self._member, self.batch_ns)
        self.pump()


class Device:
    def __init__(self, slots: int, shapes: Sequence[tuple[float, int, int]]) -> None:
        self.clock = FakeClock()
        self.share = DeviceShare(slots)
        self.models = [Model(self.share, self.clock, *shape) for shape in shapes]
        for model in self.models:
            self.clock.call_soon(model.pump)
        self.clock.settle()

    def run(self, for_ns: int) -> None:
        """Step by step; a slot must never be free while a model could use it."""
        end_ns = self.clock.now_ns() + for_ns
        while (when_ns := self.clock.next_timer_ns()) is not None and when_ns <= end_ns:
            self.clock.advance(when_ns - self.clock.now_ns())
            if self.share.running < self.share.slots:
                assert not any(model.could_run for model in self.models), "a slot is idle"
            assert self.share.running <= self.share.slots
        self.clock.advance(end_ns - self.clock.now_ns())


weights = st.sampled_from([0.5, 1.0, 2.0, 3.0])
batch_times = st.integers(1, 50)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(weights, batch_times, st.just(1)), min_size=2, max_size=4))
def test_time_is_divided_by_weight_within_one_batch(shapes: list[tuple[float, int, int]]) -> None:
    device = Device(1, shapes)
    for _ in range(10):
        device.run(200)
        for one in device.models:
            for other in device.models:
                apart = one.used_ns / one.weight - other.used_ns / other.weight
                assert apart <= one.batch_ns / one.weight + other.batch_ns / other.weight


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 4),
    st.lists(st.tuples(weights, batch_times, st.just(4)), min_size=2, max_size=4),
)
def test_several_slots_are_divided_by_weight_within_a_batch_for_each(
    slots: int, shapes: list[tuple[float, int, int]]
) -> None:
    device = Device(slots, shapes)
    device.run(1_500)
    for one in device.models:
        for other in device.models:
            apart = one.used_ns / one.weight - other.used_ns / other.weight
            assert apart <= slots * (one.batch_ns / one.weight + other.batch_ns / other.weight)


many_shapes = st.lists(st.tuples(weights, batch_times, st.integers(1, 3)), min_size=2, max_size=5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), many_shapes)
def test_nobody_starves(slots: int, shapes: list[tuple[float, int, int]]) -> None:
    device = Device(slots, shapes)
    begun_ns = device.clock.now_ns()
    device.run(3_000)
    for model in device.models:
        # Its turn comes at the latest when each other has had what is its due beside what this one had
        # last, at most three batches at once, and has ended what it began.
        theirs = sum(
            3 * (other.batch_ns + other.weight * model.batch_ns / model.weight)
            for other in device.models
            if other is not model
        )
        starts = [begun_ns, *model.starts, device.clock.now_ns()]
        assert max(after - before for before, after in pairwise(starts)) <= theirs + 2 * model.batch_ns


def test_weights_hold_while_a_third_starts_and_stops_beside_them() -> None:
    device = Device(2, [(3.0, 10, 2), (1.0, 10, 2), (1.0, 7, 1)])
    heavy, light, third = device.models
    for _ in range(50):
        third.busy = not third.busy
        device.clock.call_soon(third.pump)
        device.run(100)
    assert heavy.used_ns / light.used_ns == pytest.approx(3.0, rel=0.05)


def test_a_newcomer_does_not_displace_one_that_used_more_than_another_could() -> None:
    # The first has a right to three quarters and a single instance, so the second has the other slot alone.
    device = Device(2, [(3.0, 10, 1), (1.0, 10, 2), (1.0, 10, 2)])
    _, second, newcomer = device.models
    newcomer.busy = False
    device.run(10_000)
    newcomer.busy = True
    device.clock.call_soon(newcomer.pump)
    before_ns = second.used_ns - newcomer.used_ns
    device.run(1_000)
    assert abs(second.used_ns - newcomer.used_ns - before_ns) <= 40


def test_long_batches_get_no_less_than_short_ones() -> None:
    device = Device(2, [(1.0, 1_000, 2), (1.0, 10, 2)])
    device.run(100_000)
    long, short = device.models
    assert long.used_ns / short.used_ns == pytest.approx(1.0, rel=0.05)


def test_two_slots_that_come_free_together_wake_two() -> None:
    woken: list[str] = []
    share = DeviceShare(2)
    one, other, first, second = (share.join(1.0, lambda n=n: woken.append(n)) for n in "xy12")
    assert share.ask(one)
    assert share.ask(other)
    assert not share.ask(first)
    assert not share.ask(second)
    share.ended(one, 10)
    share.ended(other, 10)
    assert set(woken) == {"1"}
    assert share.ask(first)
    assert woken[-1] == "2"
    assert share.ask(second)


def test_one_that_rested_starts_level_and_does_not_catch_up() -> None:
    device = Device(1, [(1.0, 10, 1), (1.0, 10, 1)])
    first, second = device.models
    second.busy = False
    device.run(1_000)
    before = first.used_ns
    second.busy = True
    device.clock.call_soon(second.pump)
    device.run(1_000)
    assert abs((first.used_ns - before) - (second.used_ns - 10)) <= 30


def test_one_that_goes_passes_its_turn_on() -> None:
    woken: list[str] = []
    share = DeviceShare(1)
    runs, goes, stays = (share.join(1.0, lambda name=name: woken.append(name)) for name in ("r", "g", "s"))
    assert share.ask(runs)
    assert not share.ask(goes)
    assert not share.ask(stays)
    share.ended(runs, 10)
    assert woken == ["g"]
    share.leave(goes)
    assert woken == ["g", "s"]
    assert share.ask(stays)


def test_one_that_goes_while_it_runs_still_gives_its_slot_back() -> None:
    woken: list[str] = []
    share = DeviceShare(1)
    goes = share.join(1.0, lambda: None)
    stays = share.join(1.0, lambda: woken.append("s"))
    assert share.ask(goes)
    share.leave(goes)
    assert not share.ask(stays)
    share.ended(goes, 10)
    assert woken == ["s"]
    assert share.ask(stays)


def test_one_that_withdraws_lets_the_next_go() -> None:
    woken: list[str] = []
    share = DeviceShare(1)
    runs, first, second = (share.join(1.0, lambda n=n: woken.append(n)) for n in ("r", "1", "2"))
    share.ask(runs)
    share.ask(first)
    share.ask(second)
    share.ended(runs, 10)
    share.withdraw(first)
    assert woken == ["1", "2"]
    share.withdraw(first)
    assert woken == ["1", "2"], "it does not wait"
