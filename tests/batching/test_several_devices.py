"""One model on several devices: each gets its batches, and several models each their weight on each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.batching import Batch, DeviceShare, FixedPolicy, Request
from tests.fakes.clock import FakeClock
from tests.fakes.virtual_world import VirtualWorld

MS = 1_000_000
COST = {1: 4.0 * MS, 8: 10.0 * MS}


class Crowd:
    """Clients enough that a model always has full batches waiting; counts what each device ran."""

    def __init__(
        self,
        devices: Sequence[str],
        *,
        instances: int = 1,
        clock: FakeClock | None = None,
        shares: dict[str, DeviceShare] | None = None,
        weight: float = 1.0,
        max_batch: int = 8,
    ) -> None:
        self.world = VirtualWorld(
            FixedPolicy(0),
            cost=COST,
            max_batch=max_batch,
            instances=instances,
            devices=devices,
            clock=clock,
            shares=shares,
            weight=weight,
        )
        self.batches: Counter[str] = Counter()
        self.world.batcher.observer = self
        for _ in range(3 * max_batch * instances * len(devices)):
            self._ask()

    def _ask(self) -> None:
        self.world.arrive().on_done = self._answered

    def _answered(self, request: Request) -> None:
        self.world.ended(request)
        self._ask()

    def took_ns(self, device: str) -> float:
        return self.batches[device] * self.world.true_cost.latency_ns(self.world.max_batch)

    def batch_finished(self, batch: Batch) -> None:
        self.batches[batch.timing.instance.partition("-")[0]] += 1


def closed_loop(crowd: Crowd, for_ns: int) -> int:
    crowd.world.clock.advance(for_ns)
    return len(crowd.world.ended.requests)


@pytest.mark.parametrize("instances", [1, 2])
def test_two_devices_carry_twice_what_one_does_and_both_equally(instances: int) -> None:
    one, two = Crowd(["0"], instances=instances), Crowd(["0", "1"], instances=instances)
    answered = closed_loop(one, 1_000 * MS)
    assert closed_loop(two, 1_000 * MS) == 2 * answered == 2 * 800 * instances
    assert two.batches == {"0": 100 * instances, "1": 100 * instances}


def test_the_next_batch_goes_to_the_device_that_runs_fewest() -> None:
    world = VirtualWorld(FixedPolicy(0), cost=COST, max_batch=1, instances=2, devices=["0", "1"])
    for _ in range(2):
        world.arrive()
    world.clock.settle()
    assert sorted(i.device for i in world.instances if i.running is not None) == ["0", "1"]


def test_a_device_that_lost_its_instances_leaves_the_other_at_work() -> None:
    crowd = Crowd(["0", "1"])
    crowd.world.clock.advance(5 * MS)
    crowd.world.instances[0].lose()
    crowd.world.clock.advance(995 * MS)
    assert crowd.batches["1"] >= 99
    # Only the lost one: what it ran went to the other, alone.
    assert crowd.batches["0"] == 1
    assert not [request for request in crowd.world.ended.requests if request.error is not None]


weights = st.sampled_from([0.5, 1.0, 2.0, 3.0])


@settings(max_examples=10, deadline=None)
@given(weights, weights, st.integers(1, 8), st.integers(1, 2))
def test_each_device_is_divided_by_weight(light: float, heavy: float, largest: int, slots: int) -> None:
    clock = FakeClock()
    shares = {"0": DeviceShare(slots), "1": DeviceShare(slots)}
    first = Crowd(["0", "1"], clock=clock, shares=shares, weight=light, instances=slots)
    second = Crowd(["0", "1"], clock=clock, shares=shares, weight=heavy, instances=slots, max_batch=largest)
    clock.advance(600 * MS)
    for device in shares:
        took_ns = [
            c.batches[device] * c.world.true_cost.latency_ns(c.world.max_batch) for c in (first, second)
        ]
        apart = abs(took_ns[0] / light - took_ns[1] / heavy)
        assert apart <= 2 * (slots + 1) * 10 * MS * (1 / light + 1 / heavy)


def test_a_model_on_both_devices_yields_on_one_only_to_the_model_that_is_there() -> None:
    clock = FakeClock()
    shares = {"0": DeviceShare(1), "1": DeviceShare(1)}
    both = Crowd(["0", "1"], clock=clock, shares=shares)
    one = Crowd(["1"], clock=clock, shares=shares)
    clock.advance(1_000 * MS)
    assert both.batches["0"] == 100
    assert both.batches["1"] == pytest.approx(50, abs=2)
    assert one.batches["1"] == pytest.approx(50, abs=2)


def test_with_one_device_taken_by_another_model_a_single_batch_goes_to_the_idle_one() -> None:
    clock = FakeClock()
    shares = {"0": DeviceShare(2), "1": DeviceShare(2)}
    other = VirtualWorld(FixedPolicy(0), cost=COST, max_batch=8, clock=clock, devices=["0"], shares=shares)
    both = VirtualWorld(
        FixedPolicy(0), cost=COST, max_batch=8, clock=clock, devices=["0", "1"], shares=shares
    )
    other.arrive()
    clock.settle()
    both.arrive()
    clock.settle()
    assert [i.device for i in both.instances if i.running is not None] == ["1"]
