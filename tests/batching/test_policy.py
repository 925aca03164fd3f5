"""Fixed and adaptive: numbers in, decision out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.batching import (
    NEVER_NS,
    AdaptivePolicy,
    BatchCost,
    BatchPolicy,
    DeadlinePolicy,
    DeferredPolicy,
    Dispatch,
    FixedPolicy,
    QueueView,
    WaitUntil,
)
from tests.fakes.views import MS, NOW_NS, view_of, views

VIT = BatchCost(32, {1: 3 * MS, 8: 6 * MS, 32: 18 * MS})
UNDATED = [NEVER_NS]

policies = st.one_of(
    st.builds(FixedPolicy, st.integers(0, 20 * MS)),
    st.builds(AdaptivePolicy, st.integers(1, 8), st.sampled_from([0, 3 * MS])),
    st.builds(DeadlinePolicy, st.integers(1, 8)),
    st.builds(DeferredPolicy, st.integers(1, 8), st.integers(0, 20 * MS)),
)


@settings(max_examples=75, deadline=None)
@given(policies, views())
def test_every_decision_can_be_carried_out(policy: BatchPolicy, view: QueueView) -> None:
    decision = policy.decide(view)
    assert decision == policy.decide(view), "pure"
    assert 0 <= decision.drop <= view.waiting
    if isinstance(decision, Dispatch):
        assert 1 <= decision.size <= view.max_batch
        assert decision.drop + decision.size <= view.waiting
        if decision.release == "full":
            assert decision.size == view.max_batch
    else:
        assert decision.when_ns > view.now_ns
        assert view.waiting - decision.drop < view.max_batch


@settings(max_examples=75, deadline=None)
@given(views(), st.integers(0, 20 * MS), st.integers(1, 8))
def test_policies_by_arrival_drop_nothing_and_wait_no_longer_than_they_say(
    view: QueueView, delay_ns: int, instances: int
) -> None:
    fixed = FixedPolicy(delay_ns).decide(view)
    adaptive = AdaptivePolicy(instances).decide(view)
    for decision, longest_ns in (
        (fixed, delay_ns),
        (adaptive, view.cost.latency_ns(view.max_batch)),
        (AdaptivePolicy(instances, MS).decide(view), MS),
        (AdaptivePolicy(instances, MS).decide(view), view.cost.latency_ns(view.max_batch)),
    ):
        assert decision.drop == 0
        if isinstance(decision, WaitUntil):
            assert decision.when_ns <= view.oldest_ns + longest_ns


@settings(max_examples=75, deadline=None)
@given(views(), st.integers(1, 20 * MS))
def test_a_delay_never_outlasts_the_last_moment_at_which_the_deadline_can_be_met(
    view: QueueView, delay_ns: int
) -> None:
    for policy in (FixedPolicy(delay_ns), AdaptivePolicy(1, delay_ns)):
        decision = policy.decide(view)
        if isinstance(decision, WaitUntil) and view.earliest_deadline_ns is not None:
            end_ns = decision.when_ns + view.cost.latency_ns(view.waiting) + view.cost.margin_ns
            assert end_ns <= view.earliest_deadline_ns


def test_fixed_waits_from_the_oldest_and_a_full_batch_does_not_wait() -> None:
    policy = FixedPolicy(5 * MS)
    assert policy.decide(view_of(UNDATED, VIT, 8, waited_ns=2 * MS)) == WaitUntil(NOW_NS + 3 * MS)
    assert policy.decide(view_of(UNDATED, VIT, 8, waited_ns=5 * MS)) == Dispatch(1, "delay")
    assert policy.decide(view_of(UNDATED * 9, VIT, 8)) == Dispatch(8, "full")
    assert FixedPolicy().decide(view_of(UNDATED, VIT, 8)) == Dispatch(1, "idle")


def test_fixed_leaves_as_much_time_before_a_deadline_as_the_batch_takes() -> None:
    view = view_of([NOW_NS + 10 * MS, NEVER_NS], BatchCost(8, {1: 3 * MS, 8: 3 * MS}), 8)
    assert FixedPolicy(50 * MS).decide(view) == WaitUntil(NOW_NS + 7 * MS)
    late = view._replace(now_ns=NOW_NS + 7 * MS)
    assert FixedPolicy(50 * MS).decide(late) == Dispatch(2, "deadline")


def test_adaptive_takes_what_waits_while_it_knows_nothing() -> None:
    assert AdaptivePolicy().decide(view_of(UNDATED, BatchCost(8), 8, gap_ns=10.0)) == Dispatch(1, "idle")
    assert AdaptivePolicy().decide(view_of(UNDATED, VIT, 8)) == Dispatch(1, "idle")


# Of VIT's best rate, 1,778/s and instance, the last of each are more than 85 %.
@pytest.mark.parametrize(
    ("instances", "rate", "size"),
    [(1, 10, 1), (1, 600, 1), (1, 1_000, 2), (1, 1_500, 3), (4, 4_000, 4), (4, 5_500, 6)],
)
def test_adaptive_wants_the_smallest_batch_that_keeps_up_with_one_instance_more(
    instances: int, rate: int, size: int
) -> None:
    policy = AdaptivePolicy(instances)
    gap_ns = 1e9 / rate
    assert policy.enough(view_of(UNDATED, VIT, 32, gap_ns=gap_ns)) == size
    assert policy.decide(view_of(UNDATED * size, VIT, 32, gap_ns=gap_ns)) == Dispatch(size, "idle")
    if size > 1:
        assert isinstance(policy.decide(view_of(UNDATED * (size - 1), VIT, 32, gap_ns=gap_ns)), WaitUntil)


@pytest.mark.parametrize(("instances", "rate"), [(1, 1_520), (1, 9_999), (4, 6_050)])
def test_adaptive_does_not_wait_near_the_best_rate(instances: int, rate: int) -> None:
    view = view_of(UNDATED, VIT, 32, gap_ns=1e9 / rate)
    assert AdaptivePolicy(instances).decide(view) == Dispatch(1, "idle")


def near_the_best_rate(view: QueueView, instances: int) -> bool:
    return view.cost.latency_ns(view.max_batch) > 0.85 * view.gap_ns * instances * view.max_batch


@settings(max_examples=75, deadline=None)
@given(views(), st.integers(1, 8), st.floats(1.0, 20.0))
def test_enough_grows_with_the_rate_and_shrinks_with_the_instances_up_to_the_best_rate(
    view: QueueView, instances: int, factor: float
) -> None:
    policy = AdaptivePolicy(instances)
    enough = policy.enough(view)
    assert 1 <= enough <= view.max_batch
    if not view.cost.known or view.gap_ns <= 0 or near_the_best_rate(view, instances):
        assert enough == 1
        return
    faster = view._replace(gap_ns=view.gap_ns / factor)
    assert near_the_best_rate(faster, instances) or policy.enough(faster) >= enough
    assert AdaptivePolicy(instances + 1).enough(view) <= enough
    assert view.cost.latency_ns(enough) <= enough * view.gap_ns * (instances + 1)


def test_adaptive_does_not_wait_for_arrivals_that_have_ended() -> None:
    # Four fill in 1 ms on average, and run for 4.3 ms.
    assert AdaptivePolicy(4).decide(view_of(UNDATED, VIT, 32, gap_ns=0.25 * MS)) == WaitUntil(NOW_NS + 2 * MS)
