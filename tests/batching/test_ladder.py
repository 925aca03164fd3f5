"""Down under overload, up again only when it has been calm."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from beyond_serve.batching.ladder import CALM, HOLD_NS, SETTLE_NS, Ladder

MS = 1_000_000
BOUND = 40 * MS
SHORT = int(CALM * BOUND)


def test_it_begins_with_the_best_and_stays_there_while_waits_are_within_the_bound() -> None:
    ladder = Ladder(3, BOUND)
    assert [ladder.update(wait, now) for now, wait in enumerate((0, BOUND, SHORT, BOUND))] == [0, 0, 0, 0]


def test_it_steps_down_at_once_and_gives_each_step_time_to_show() -> None:
    ladder = Ladder(3, BOUND)
    assert ladder.update(BOUND + 1, 0) == 1
    assert ladder.update(BOUND + 1, SETTLE_NS - 1) == 1
    assert ladder.update(BOUND + 1, SETTLE_NS) == 2
    assert ladder.update(BOUND + 1, 10 * SETTLE_NS) == 2


def test_it_steps_up_after_a_long_calm_and_one_rung_at_a_time() -> None:
    ladder = Ladder(3, BOUND)
    ladder.update(BOUND + 1, 0)
    ladder.update(BOUND + 1, SETTLE_NS)
    start = 2 * SETTLE_NS
    assert ladder.update(SHORT, start) == 2
    assert ladder.update(SHORT, start + HOLD_NS - 1) == 2
    assert ladder.update(SHORT, start + HOLD_NS) == 1
    assert ladder.update(SHORT, start + HOLD_NS + 1) == 1
    assert ladder.update(SHORT, start + 2 * HOLD_NS) == 0


def test_a_longer_wait_in_between_begins_the_calm_anew() -> None:
    ladder = Ladder(2, BOUND)
    ladder.update(BOUND + 1, 0)
    ladder.update(0, 1)
    ladder.update(SHORT + 1, HOLD_NS // 2)
    assert ladder.update(0, HOLD_NS + 1) == 1
    assert ladder.update(0, 2 * HOLD_NS + 1) == 0


@given(
    st.lists(st.tuples(st.integers(0, 3 * BOUND), st.integers(0, HOLD_NS)), max_size=60), st.integers(1, 4)
)
def test_it_stays_on_its_rungs_and_never_swings_faster_than_it_may(
    steps: list[tuple[int, int]], rungs: int
) -> None:
    ladder, now, before, changes = Ladder(rungs, BOUND), 0, 0, []
    for wait, later in steps:
        now += later
        rung = ladder.update(wait, now)
        assert 0 <= rung < rungs
        assert abs(rung - before) <= 1
        if rung != before:
            changes.append((now, rung - before))
        before = rung
    for (earlier, _), (later, step) in pairwise(changes):
        assert later - earlier >= (SETTLE_NS if step > 0 else HOLD_NS)
