"""Bad requests among good ones: the good ones get what they would have got without them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.batching import AdaptivePolicy, BatchPolicy, DeadlinePolicy, DeferredPolicy, FixedPolicy
from tests.fakes.virtual_world import VirtualWorld

MS = 1_000_000

POLICIES = (FixedPolicy(2 * MS), AdaptivePolicy(), DeadlinePolicy(), DeferredPolicy())


def answers(policy: BatchPolicy, count: int, bad: set[int], instances: int, killed: int | None) -> list[Any]:
    """What each of `count` requests of one window got; instance `killed` dies while it runs."""
    world = VirtualWorld(policy, cost={1: 3 * MS, 8: 6 * MS}, max_batch=8, instances=instances)
    for number in range(count):
        world.arrive(poison=number in bad)
    world.clock.advance(3 * MS)
    if killed is not None:
        world.instances[killed % instances].lose()
        world.clock.settle()
    world.run_out()
    world.check_end()
    return [
        request.error.code if request.error is not None else request.outputs[request.index]
        for request in world.requests
    ]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 40),
    bad=st.sets(st.integers(0, 39), max_size=12),
    instances=st.integers(1, 3),
)
def test_the_good_get_what_a_clean_run_gives_and_each_bad_one_its_error(
    policy: BatchPolicy, count: int, bad: set[int], instances: int
) -> None:
    clean = answers(policy, count, set(), instances, None)
    assert clean == [f"result of {number}" for number in range(count)]
    found = answers(policy, count, bad, instances, None)
    assert found == ["engine" if number in bad else clean[number] for number in range(count)]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 40), instances=st.integers(1, 3), killed=st.integers(0, 2))
def test_a_killed_instance_costs_nobody_their_result(
    policy: BatchPolicy, count: int, instances: int, killed: int
) -> None:
    clean = answers(policy, count, set(), instances, None)
    assert answers(policy, count, set(), instances, killed) == clean


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_a_failed_batch_costs_one_more_run_for_each_of_its_requests_and_no_more(policy: BatchPolicy) -> None:
    world = VirtualWorld(policy, cost={1: 3 * MS, 8: 6 * MS}, max_batch=8)
    for number in range(8):
        world.arrive(poison=number == 5)
    world.run_out()
    world.check_end()
    assert [len(payloads) for _, payloads, _ in world.batches] == [8] + [1] * 8
    assert {release for _, _, release in world.batches[1:]} == {"retry"}
