"""What policies may be shown: random queues and random tables."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from beyond_serve.batching import NEVER_NS, BatchCost, QueueView

MS = 1_000_000
NOW_NS = 10_000 * MS

tables = st.builds(
    lambda first_ns, slope_ns, cliff_ns: {1: first_ns, 4: first_ns + 3 * slope_ns, 5: cliff_ns, 32: cliff_ns},
    st.integers(1, 6 * MS),
    st.integers(0, 2 * MS),
    st.integers(1, 40 * MS),
)
deadlines = st.lists(st.integers(NOW_NS - MS, NOW_NS + 60 * MS) | st.just(NEVER_NS), min_size=1, max_size=40)


@st.composite
def costs(draw: st.DrawFn, largest: int = 32) -> BatchCost:
    """Known or not, exact or with a margin."""
    cost = BatchCost(largest, draw(st.just({}) | tables))
    for size in draw(st.lists(st.integers(1, largest), max_size=3)):
        cost.observe(size, 2 * cost.latency_ns(size))
    return cost


def view_of(
    deadlines_ns: Sequence[int],
    cost: BatchCost,
    max_batch: int,
    *,
    waited_ns: int = 0,
    gap_ns: float = 0.0,
    now_ns: int = NOW_NS,
) -> QueueView:
    """As the batcher shows a lane, for either order of policies."""
    earliest = min(deadlines_ns[:max_batch])
    return QueueView(
        now_ns,
        len(deadlines_ns),
        now_ns - waited_ns,
        None if earliest == NEVER_NS else earliest,
        max_batch,
        cost,
        gap_ns,
        deadlines_ns,
    )


@st.composite
def views(draw: st.DrawFn, *, ordered: bool = False) -> QueueView:
    found = draw(deadlines)
    return view_of(
        sorted(found) if ordered else found,
        draw(costs()),
        draw(st.integers(1, 32)),
        waited_ns=draw(st.integers(0, 30 * MS)),
        gap_ns=draw(st.floats(0, 5 * MS)),
    )
