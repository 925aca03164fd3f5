"""l(n): measured, followed, inverted."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.batching import BatchCost
from beyond_serve.batching.cost import grid

US = 1_000
MS = 1_000_000

tables = st.dictionaries(st.integers(1, 80), st.integers(0, 50 * MS), max_size=6)
batches = st.lists(st.tuples(st.integers(1, 100), st.integers(0, 200 * MS)), max_size=30)


@st.composite
def costs(draw: st.DrawFn) -> BatchCost:
    cost = BatchCost(draw(st.integers(1, 64)), draw(tables))
    for size, took_ns in draw(batches):
        cost.observe(size, took_ns)
    return cost


def latencies(cost: BatchCost) -> list[int]:
    return [cost.latency_ns(size) for size in range(1, cost.largest + 1)]


def test_it_is_linear_between_entries() -> None:
    cost = BatchCost(8, {1: 100, 4: 400, 8: 600})
    assert latencies(cost) == [100, 200, 300, 400, 450, 500, 550, 600]


def test_a_single_entry_grows_in_proportion_and_is_the_least() -> None:
    cost = BatchCost(8, {4: 400})
    assert [cost.latency_ns(size) for size in (1, 4, 6, 8)] == [400, 400, 600, 800]


def test_entries_above_the_largest_give_the_slope() -> None:
    assert BatchCost(6, {4: 400, 8: 800}).latency_ns(6) == 600


def test_sizes_above_the_largest_are_taken_for_it() -> None:
    cost = BatchCost(4, {1: 100, 4: 400})
    assert cost.latency_ns(99) == 400
    assert cost.largest_within(400, 99) == 99


def test_a_table_that_falls_is_made_never_falling() -> None:
    assert latencies(BatchCost(4, {1: 10, 2: 5, 3: 3, 4: 2})) == [10, 10, 10, 10]


def test_nothing_is_known_at_first_and_everything_fits() -> None:
    cost = BatchCost(8)
    assert not cost.known
    assert (cost.latency_ns(8), cost.largest_within(0, 8), cost.knee(8), cost.peak_rate(8)) == (0, 8, 8, 0)
    assert cost.largest_within(-1, 8) == 0


def test_the_first_batch_is_believed() -> None:
    cost = BatchCost(8)
    cost.observe(2, 5 * MS)
    assert cost.known
    assert (cost.latency_ns(2), cost.latency_ns(4), cost.margin_ns) == (5 * MS, 10 * MS, 0)


@pytest.mark.parametrize("largest", [1, 2, 3, 5, 8, 31, 32, 33, 100])
def test_the_grid_begins_with_one_ends_with_the_largest_and_grows_by_half_at_most(largest: int) -> None:
    sizes = grid(largest)
    assert (sizes[0], sizes[-1]) == (1, max(largest, 2))
    assert all(low < high <= max(low * 3 / 2, low + 1) for low, high in pairwise(sizes))


@settings(max_examples=80, deadline=None)
@given(costs())
def test_it_never_falls_with_the_size_and_never_below_zero(cost: BatchCost) -> None:
    found = latencies(cost)
    assert found == sorted(found)
    assert found[0] >= 0
    assert cost.margin_ns >= 0


@settings(max_examples=80, deadline=None)
@given(costs(), st.integers(-1, 300 * MS), st.integers(1, 100), st.integers(0, 1_000))
def test_largest_within_is_the_inverse_of_latency(
    cost: BatchCost, budget_ns: int, limit: int, entry: int
) -> None:
    entries = list(cost.entries().values())
    near = int(entries[entry % len(entries)])
    for budget in (budget_ns, near - 1, near, near + 1):
        fitting = [size for size in range(1, limit + 1) if cost.latency_ns(size) <= budget]
        assert cost.largest_within(budget, limit) == max(fitting, default=0)


def test_a_quotient_that_is_rounded_down_does_not_cost_a_place() -> None:
    # 1 / 49 * 49 is less than 1 in binary, in the table's interpolation as in its inverse.
    cost = BatchCost(177, {1: 0, 128: 0, 177: 49})
    assert cost.latency_ns(129) == 0
    assert cost.largest_within(0, 177) == 129


@settings(max_examples=60, deadline=None)
@given(costs(), st.integers(1, 64))
def test_the_knee_is_the_smallest_batch_near_the_peak_rate(cost: BatchCost, limit: int) -> None:
    rates = [size / max(cost.latency_ns(size), 1) for size in range(1, limit + 1)]
    knee = cost.knee(limit)
    assert 1 <= knee <= limit
    if cost.known:
        assert rates[knee - 1] >= 0.95 * max(rates)
        assert all(rate < 0.95 * max(rates) for rate in rates[: knee - 1])


@settings(max_examples=60, deadline=None)
@given(costs().filter(lambda cost: cost.latency_ns(1) > US), st.integers(1, 64))
def test_the_peak_rate_is_that_of_the_best_batch(cost: BatchCost, limit: int) -> None:
    best = max(size / cost.latency_ns(size) for size in range(1, limit + 1))
    # Whole nanoseconds between the entries make the last digits differ.
    assert cost.peak_rate(limit) == pytest.approx(best, rel=2e-3)


@settings(max_examples=60, deadline=None)
@given(costs())
def test_entries_make_the_same_table_again(cost: BatchCost) -> None:
    again = BatchCost(cost.largest, cost.entries())
    assert latencies(again) == latencies(cost)
    assert again.entries() == cost.entries()


@settings(max_examples=60, deadline=None)
@given(costs(), st.integers(1, 64), st.integers(0, 1_000_000 * MS))
def test_one_outlier_moves_it_by_a_bounded_part(cost: BatchCost, size: int, took_ns: int) -> None:
    if not cost.known:
        cost.observe(4, 4 * MS)
    before, margin_ns = latencies(cost), cost.margin_ns
    size = min(size, cost.largest)
    due = max(cost.latency_ns(size), US)
    cost.observe(size, took_ns)
    # An eighth of its due at the size itself, spread over two entries: 1.21 times that for either.
    moved = [abs(now - then) for now, then in zip(latencies(cost), before, strict=True)]
    assert max(moved) <= 1.21 / 8 * due + 2
    assert cost.margin_ns <= max(margin_ns, margin_ns * 7 / 8 + due / 2 + 1)


@pytest.mark.parametrize("factor", [0.25, 0.8, 1.5, 10])
def test_it_follows_a_model_that_changed(factor: float) -> None:
    cost = BatchCost(32, {1: 3 * MS, 8: 6 * MS, 32: 18 * MS})
    new = BatchCost(32, {n: ns * factor for n, ns in cost.entries().items()})
    for _ in range(80):
        for size in (1, 3, 8, 20, 32):
            cost.observe(size, new.latency_ns(size))
    for size in (1, 3, 8, 20, 32):
        assert cost.latency_ns(size) == pytest.approx(new.latency_ns(size), rel=0.02)


def test_a_cost_of_nothing_can_grow_again() -> None:
    cost = BatchCost(4, {1: 0, 4: 100})
    for _ in range(300):
        cost.observe(1, 50 * US)
    assert cost.latency_ns(1) == pytest.approx(50 * US, rel=0.01)


def test_a_steep_table_does_not_fall_below_nothing() -> None:
    cost = BatchCost(8, {1: 1_000, 4: 1_000, 6: 100_000, 8: 100_000})
    for _ in range(20):
        cost.observe(5, 0)
    assert min(latencies(cost)) == 0


def test_the_margin_grows_with_lateness_only_and_one_stall_does_not_fill_it() -> None:
    cost = BatchCost(4, {1: 4 * MS, 4: 4 * MS})
    cost.observe(1, 2 * MS)
    assert cost.margin_ns == 0
    cost = BatchCost(4, {1: 4 * MS, 4: 4 * MS})
    cost.observe(1, 10_000 * MS)
    assert cost.margin_ns == 2 * MS
    for _ in range(30):
        cost.observe(1, cost.latency_ns(1))
    assert cost.margin_ns < 0.05 * MS
