"""The whole batcher in virtual time: whatever comes, in whatever order, every promise holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.batching import (
    AdaptivePolicy,
    BatchPolicy,
    DeadlinePolicy,
    DeferredPolicy,
    DeviceShare,
    FixedPolicy,
)
from tests.fakes.clock import FakeClock
from tests.fakes.virtual_world import VirtualWorld

MS = 1_000_000

POLICIES = ["fixed", "adaptive", "deadline", "deferred"]

arrivals = st.tuples(
    st.just("arrive"),
    st.fixed_dictionaries(
        {
            "count": st.integers(1, 5),
            "key": st.sampled_from(["one", "two", "three"]),
            "after_ns": st.none() | st.integers(1, 25 * MS),
            "level": st.integers(1, 3),
            "poison": st.sampled_from([False, False, False, True]),
            "when_done": st.sampled_from(["", "", "", "send", "cancel"]),
        }
    ),
)
event = st.one_of(
    arrivals,
    arrivals,
    st.tuples(st.just("pass"), st.integers(0, 8 * MS)),
    st.tuples(st.just("pass"), st.integers(0, 8 * MS)),
    st.tuples(st.just("cancel"), st.integers(0, 200)),
    st.tuples(st.just("lose"), st.integers(0, 3)),
    st.tuples(st.just("return"), st.integers(0, 3)),
)
# Hypothesis makes short lists unless it is told not to.
few = st.lists(event, max_size=4)
many = few | st.lists(event, min_size=15, max_size=40)
costs = st.builds(
    lambda first_ns, slope_ns, cliff_ns: {1: first_ns, 3: first_ns + 2 * slope_ns, 4: cliff_ns, 8: cliff_ns},
    st.integers(1, 6 * MS),
    st.integers(0, 2 * MS),
    st.integers(1, 20 * MS),
)
shapes = st.fixed_dictionaries(
    {"cost": costs, "max_batch": st.integers(1, 8), "instances": st.integers(1, 4)}
)


def policy_of(name: str, instances: int, delay_ns: int) -> BatchPolicy:
    if name == "fixed":
        return FixedPolicy(delay_ns)
    if name == "adaptive":
        return AdaptivePolicy(instances)
    return DeadlinePolicy(instances) if name == "deadline" else DeferredPolicy(instances, delay_ns)


def happen(world: VirtualWorld, event: tuple[str, Any]) -> None:
    kind, detail = event
    if kind == "arrive":
        for _ in range(detail["count"]):
            world.arrive(**{name: value for name, value in detail.items() if name != "count"})
    elif kind == "pass":
        world.clock.advance(detail)
    elif kind == "cancel":
        world.cancel(detail)
    else:
        instance = world.instances[detail % len(world.instances)]
        (instance.lose if kind == "lose" else instance.come_back)()
    world.clock.settle()


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=40, deadline=None)
@given(shape=shapes, events=many, delay_ns=st.sampled_from([0, MS, 4 * MS]), inline=st.booleans())
def test_every_promise_holds(
    name: str, shape: dict[str, Any], events: list[tuple[str, Any]], delay_ns: int, inline: bool
) -> None:
    world = VirtualWorld(policy_of(name, shape["instances"], delay_ns), inline=inline, **shape)
    for event in events:
        happen(world, event)
        world.check_step()
    world.run_out()
    world.check_end()


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=25, deadline=None)
@given(
    shape=shapes,
    events=st.lists(st.tuples(st.booleans(), few), min_size=8, max_size=16),
    delay_ns=st.sampled_from([0, 2 * MS]),
    slots=st.integers(1, 3),
)
def test_every_promise_holds_for_two_models_on_one_device(
    name: str,
    shape: dict[str, Any],
    events: list[tuple[bool, list[tuple[str, Any]]]],
    delay_ns: int,
    slots: int,
) -> None:
    clock, share = FakeClock(), DeviceShare(slots)
    first = VirtualWorld(
        policy_of(name, shape["instances"], delay_ns), clock=clock, shares={"0": share}, weight=3.0, **shape
    )
    second = VirtualWorld(FixedPolicy(delay_ns), clock=clock, shares={"0": share}, **shape)
    for to_first, found in events:
        for event in found:
            happen(first if to_first else second, event)
            assert share.running == first.batcher.batches_running + second.batcher.batches_running <= slots
            first.check_step()
            second.check_step()
    for world in (first, second, first):
        world.run_out()
    first.check_end()
    second.check_end()
    assert share.running == 0


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=25, deadline=None)
@given(
    shape=shapes,
    events=st.lists(st.tuples(st.booleans(), few), min_size=8, max_size=16),
    slots=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    theirs=st.sampled_from([("0", "1"), ("1",), ("1", "2")]),
)
def test_every_promise_holds_for_two_models_that_share_some_of_their_devices(
    name: str,
    shape: dict[str, Any],
    events: list[tuple[bool, list[tuple[str, Any]]]],
    slots: tuple[int, int],
    theirs: tuple[str, ...],
) -> None:
    clock = FakeClock()
    shares = {"0": DeviceShare(slots[0]), "1": DeviceShare(slots[1])}
    policy = policy_of(name, 2 * shape["instances"], 0)
    first = VirtualWorld(policy, clock=clock, devices=("0", "1"), shares=shares, weight=3.0, **shape)
    second = VirtualWorld(FixedPolicy(0), clock=clock, devices=theirs, shares=shares, **shape)
    for to_first, found in events:
        for event in found:
            happen(first if to_first else second, event)
            for device, share in shares.items():
                running = [i for i in (*first.instances, *second.instances) if i.device == device]
                assert share.running == sum(i.running is not None for i in running) <= share.slots
            first.check_step()
            second.check_step()
    for world in (first, second, first):
        world.run_out()
    first.check_end()
    second.check_end()
    assert [share.running for share in shares.values()] == [0, 0]
