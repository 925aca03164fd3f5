"""Deadline and deferred: what is dropped, what runs, and when."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from beyond_serve.batching import (
    NEVER_NS,
    BatchCost,
    DeadlinePolicy,
    DeferredPolicy,
    Dispatch,
    QueueView,
    WaitUntil,
)
from beyond_serve.batching.deadline_policies import (
    all_can_be_met,
    choose,
    hopeless,
    largest_batch,
    most_valuable,
)
from tests.fakes.views import MS, NOW_NS, view_of, views

VIT = BatchCost(32, {1: 3 * MS, 8: 6 * MS, 32: 18 * MS})
POLICIES = (DeadlinePolicy(), DeferredPolicy())


def due(*after_ms: float) -> list[int]:
    return [round(NOW_NS + after * MS) for after in after_ms]


@settings(max_examples=75, deadline=None)
@given(views(), st.integers(1, 4))
def test_a_batch_meets_all_its_deadlines_by_the_table(view: QueueView, instances: int) -> None:
    for policy in (DeadlinePolicy(instances), DeferredPolicy(instances)):
        decision = policy.decide(view)
        if isinstance(decision, Dispatch):
            members = view.deadlines_ns[decision.drop : decision.drop + decision.size]
            end_ns = view.now_ns + view.cost.margin_ns + view.cost.latency_ns(decision.size)
            assert min(members) >= end_ns


@settings(max_examples=75, deadline=None)
@given(views(), st.integers(1, 4))
def test_only_the_hopeless_are_dropped_unless_somebody_must_be_late(view: QueueView, instances: int) -> None:
    start_ns = view.now_ns + view.cost.margin_ns
    drop, _ = choose(view, instances)
    dropped = view.deadlines_ns[:drop]
    assert NEVER_NS not in dropped, "what has no deadline can always be met"
    if any(deadline >= start_ns + view.cost.latency_ns(1) for deadline in dropped):
        hopeless = next(n for n, d in enumerate(dropped) if d >= start_ns + view.cost.latency_ns(1))
        assert not all_can_be_met(view.deadlines_ns, hopeless, start_ns, view, instances)


@settings(max_examples=75, deadline=None)
@given(views())
def test_the_largest_batch_is_the_largest(view: QueueView) -> None:
    limit = min(view.max_batch, view.waiting)
    earliest = list(accumulate(view.deadlines_ns[:limit], min))
    fits = [n for n in range(1, limit + 1) if earliest[n - 1] >= view.now_ns + view.cost.latency_ns(n)]
    assert largest_batch(view.deadlines_ns, 0, view.now_ns, view) == max(fits, default=0)


@settings(max_examples=75, deadline=None)
@given(views())
def test_one_that_can_be_met_keeps_the_instance_busy(view: QueueView) -> None:
    start_ns = view.now_ns + view.cost.margin_ns
    decision = DeadlinePolicy().decide(view)
    if any(deadline >= start_ns + view.cost.latency_ns(1) for deadline in view.deadlines_ns):
        assert isinstance(decision, Dispatch)
    else:
        assert decision == WaitUntil(NEVER_NS, view.waiting)


@settings(max_examples=75, deadline=None)
@given(views(ordered=True), st.integers(0, 3 * MS))
def test_a_deferred_batch_leaves_between_d_less_l_of_one_more_and_d_less_l(
    view: QueueView, timer_ns: int
) -> None:
    policy = DeferredPolicy(timer_ns=timer_ns)
    decision = policy.decide(view)
    slack_ns = view.cost.margin_ns + timer_ns
    if isinstance(decision, WaitUntil) and decision.drop < view.waiting:
        members = view.deadlines_ns[decision.drop :]
        assume(members[0] != NEVER_NS)
        size = len(members)
        assert decision.when_ns == members[0] - view.cost.latency_ns(size + 1) - slack_ns
        assert decision.when_ns <= members[0] - view.cost.latency_ns(size)
        # Once it is time the same batch leaves, also if the timer is late by as much as is allowed for.
        for late_ns in (0, timer_ns):
            then = policy.decide(view._replace(now_ns=decision.when_ns + late_ns))
            assert isinstance(then, Dispatch)
            assert (then.size, then.drop) == (size, decision.drop)
    elif isinstance(decision, Dispatch) and decision.release == "deadline":
        members = view.deadlines_ns[decision.drop : decision.drop + decision.size]
        assume(members[0] != NEVER_NS)
        all_but_dropped = view.waiting - decision.drop
        latest_ns = members[0] - view.cost.latency_ns(decision.size)
        assert view.now_ns + view.cost.margin_ns <= latest_ns
        if decision.size == all_but_dropped:
            assert view.now_ns >= members[0] - view.cost.latency_ns(decision.size + 1) - slack_ns


def scanned_one_by_one(view: QueueView, first: int) -> float:
    """What the best head of those looked at is worth."""
    peak = view.cost.peak_rate(view.max_batch)
    best = float("-inf")
    for index in range(first, min(view.waiting, first + 4 * view.max_batch)):
        if size := largest_batch(view.deadlines_ns, index, view.now_ns, view):
            best = max(best, size - peak * view.cost.latency_ns(size))
            if size == view.max_batch or view.deadlines_ns[index] == NEVER_NS:
                break
    return best


@settings(max_examples=75, deadline=None)
@given(st.booleans().flatmap(lambda ordered: views(ordered=ordered)))
def test_the_most_valuable_head_is_found(view: QueueView) -> None:
    first = hopeless(view.deadlines_ns, view.now_ns + view.cost.latency_ns(1))
    assume(first < view.waiting)
    drop, size = most_valuable(view.deadlines_ns, first, view.now_ns, view)
    assert size == largest_batch(view.deadlines_ns, drop, view.now_ns, view) > 0
    worth = size - view.cost.peak_rate(view.max_batch) * view.cost.latency_ns(size)
    assert worth == scanned_one_by_one(view, first)


def test_deadline_runs_at_once_what_can_be_met() -> None:
    assert DeadlinePolicy().decide(view_of(due(20, 30, 40), VIT, 32)) == Dispatch(3, "idle")
    assert DeadlinePolicy().decide(view_of(due(*[50] * 40), VIT, 32)) == Dispatch(32, "full")


def test_what_would_be_late_even_alone_is_dropped() -> None:
    for policy in POLICIES:
        decision = policy.decide(view_of(due(1, 2.9, 3), VIT, 32))
        assert decision == Dispatch(1, "deadline" if policy == DeferredPolicy() else "idle", 2)
        assert policy.decide(view_of(due(1, 2), VIT, 32)) == WaitUntil(NEVER_NS, 2)


def test_the_head_is_served_where_everybody_can_be() -> None:
    # Alone 3 ms for the head, then the rest in 6 ms: nobody is late.
    assert choose(view_of(due(3.2, *[60] * 8), VIT, 32), 1) == (0, 1)


def test_a_head_that_costs_too_many_others_is_given_up() -> None:
    # Serving the head alone takes 3 ms, and then 32 others cannot end within their 19 ms.
    assert choose(view_of(due(3.2, *[19] * 32), VIT, 32), 1) == (1, 32)
    assert choose(view_of(due(3.2, *[19] * 32), VIT, 32), 8) == (0, 1), "other instances take the rest"


def test_those_without_a_deadline_are_never_given_up_for_others() -> None:
    view = view_of([NEVER_NS, *due(3.2, *[19] * 32)], VIT, 32)
    drop, size = choose(view, 1)
    assert drop == 0
    assert size >= 1


def test_the_margin_counts_as_time() -> None:
    cost = BatchCost(4, {1: 4 * MS, 4: 4 * MS})
    cost.observe(1, 8 * MS)
    need_ns = cost.latency_ns(1) + cost.margin_ns
    assert cost.margin_ns > 0
    assert choose(view_of([NOW_NS + need_ns], cost, 4), 1) == (0, 1)
    assert choose(view_of([NOW_NS + need_ns - 1], cost, 4), 1) == (1, 0)


def test_deferred_without_deadlines_is_fixed() -> None:
    undated = [NEVER_NS] * 2
    assert DeferredPolicy().decide(view_of(undated, VIT, 8)) == Dispatch(2, "idle")
    patient = DeferredPolicy(max_delay_ns=5 * MS)
    assert patient.decide(view_of(undated, VIT, 8, waited_ns=2 * MS)) == WaitUntil(NOW_NS + 3 * MS)
    assert patient.decide(view_of(undated, VIT, 8, waited_ns=5 * MS)) == Dispatch(2, "delay")
