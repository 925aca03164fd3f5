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
    [
        *((1, 10, 1), (1, 500, 1), (1, 1_000, 2), (1, 1_400, 3), (1, 1_600, 1), (1, 9_999, 1)),
        *((16, 4_000, 1), (16, 16_000, 5), (16, 22_400, 8), (16, 25_600, 1)),
    ],
)
def test_adaptive_wants_what_would_keep_up_with_one_instance_more_but_nothing_near_the_best_rate(
    instances: int, rate: int, size: int
) -> None:
    policy, gap_ns = AdaptivePolicy(instances), 1e9 / rate
    assert policy.enough(view_of(UNDATED, VIT, 32, gap_ns=gap_ns)) == size
    decision = policy.decide(view_of(UNDATED * size, VIT, 32, gap_ns=gap_ns))
    assert isinstance(decision, Dispatch)
    if size > 1:
        waits = policy.decide(view_of(UNDATED * (size - 1), VIT, 32, gap_ns=gap_ns))
        assert isinstance(waits, WaitUntil)


@settings(max_examples=75, deadline=None)
@given(views(), st.integers(1, 8))
def test_enough_is_the_smallest_that_keeps_up_with_one_instance_more(view: QueueView, instances: int) -> None:
    enough = AdaptivePolicy(instances).enough(view)
    assert 1 <= enough <= view.max_batch
    if enough > 1:
        allowed_ns = view.gap_ns * (instances + 1)
        assert view.cost.latency_ns(enough - 1) > (enough - 1) * allowed_ns
        if enough < view.max_batch:
            assert view.cost.latency_ns(enough) <= enough * allowed_ns


def test_a_delay_bounds_what_adaptive_waits_and_never_lengthens_it() -> None:
    view = view_of(UNDATED, VIT, 32, gap_ns=1.25 * MS)
    unbounded = AdaptivePolicy().decide(view)
    assert AdaptivePolicy(1, 100 * MS).decide(view) == unbounded
    assert AdaptivePolicy(1, MS // 2).decide(view) == WaitUntil(view.oldest_ns + MS // 2)


def test_adaptive_does_not_wait_for_arrivals_that_have_ended() -> None:
    view = view_of(UNDATED, VIT, 32, gap_ns=1.25 * MS)
    enough = AdaptivePolicy().enough(view)
    slow = AdaptivePolicy().decide(view)
    assert isinstance(slow, WaitUntil)
    assert slow.when_ns - NOW_NS <= min(VIT.latency_ns(enough), 2 * enough * 1.25 * MS)
