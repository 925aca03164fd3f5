"""Places in the queue: all or none, nested by level, a budget of bytes, and when to come back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.batching import Admission, Levels
from beyond_serve.errors import QueueFullError

MS = 1_000_000
SECOND = 1_000 * MS


def test_all_or_none() -> None:
    admission = Admission(3)
    admission.enter(2, size=20)
    with pytest.raises(QueueFullError, match="2 of 3 places taken, 2 asked"):
        admission.enter(2, size=20)
    assert (admission.waiting, admission.held_bytes) == (2, 20)
    admission.enter()
    assert admission.waiting == 3


def test_a_flood_of_the_unimportant_leaves_room_for_what_matters() -> None:
    admission = Admission(10, Levels(3))
    admission.enter(9, 3)
    for level, places in ((3, "9 of 9"), (2, "10 of 10")):
        with pytest.raises(QueueFullError, match=places):
            admission.enter(1, level)
        if level == 3:
            admission.enter(1, 2)
    admission.enter(1, 1)
    with pytest.raises(QueueFullError, match="11 of 11"):
        admission.enter(1, 1)


def test_what_matters_may_fill_the_queue_and_nothing_comes_on_top() -> None:
    admission = Admission(10, Levels(3))
    admission.enter(11, 1)
    for level in (1, 2, 3):
        with pytest.raises(QueueFullError):
            admission.enter(1, level)
    assert admission.waiting == 11


def test_bytes_are_limited_and_a_large_one_may_pass_alone() -> None:
    admission = Admission(10, max_bytes=100)
    admission.enter(size=500)
    with pytest.raises(QueueFullError, match="500 of 100 bytes taken, 1 asked") as refused:
        admission.enter(size=1)
    assert "--max-queue-mb" in (refused.value.hint or "")
    admission.leave(size=500)
    admission.enter(size=60)
    admission.enter(size=40)
    with pytest.raises(QueueFullError):
        admission.enter(size=1)


def test_ahead_are_those_of_the_same_level_and_better() -> None:
    admission = Admission(100, Levels(3))
    for level, count in ((1, 1), (2, 2), (3, 4)):
        admission.enter(count, level)
    assert [admission.ahead(level) for level in (1, 2, 3)] == [1, 3, 7]


def drained_at(admission: Admission, *times: tuple[int, int]) -> None:
    for count, now_ns in times:
        admission.drained(count, now_ns)


def test_retry_after_is_what_waits_over_the_drain_rate() -> None:
    admission = Admission(1_000)
    admission.enter(200)
    assert admission.retry_after_s() == 1, "nothing is known"
    drained_at(admission, *((10, SECOND + number * 500 * MS) for number in range(20)))
    assert admission.retry_after_s() == 10
    admission.enter(800)
    assert admission.retry_after_s() == 50


def test_retry_after_is_at_least_one_second_and_at_most_sixty() -> None:
    admission = Admission(10_000)
    admission.enter(1)
    drained_at(admission, (1, SECOND), (1, 2 * SECOND))
    assert admission.retry_after_s() == 1
    admission.enter(9_000)
    assert admission.retry_after_s() == 60


def test_instances_that_end_together_do_not_look_fast() -> None:
    admission = Admission(1_000)
    admission.enter(400)
    for number in range(1, 40):
        # Eight each, twice a second, one microsecond apart: 16 batches' worth in a second, not millions.
        drained_at(admission, (8, number * 500 * MS), (8, number * 500 * MS + 1_000))
    assert 10 <= admission.retry_after_s() <= 15


def test_a_quiet_hour_does_not_look_slow() -> None:
    admission = Admission(1_000)
    admission.enter(100)
    drained_at(admission, *((10, number * 100 * MS) for number in range(1, 30)))
    for _ in range(100):
        admission.leave()
    admission.drained(10, 3 * SECOND)
    admission.enter(500)
    admission.drained(10, 3_600 * SECOND)
    assert admission.retry_after_s() == 5


moves = st.lists(
    st.tuples(st.booleans(), st.integers(1, 4), st.integers(1, 5), st.integers(0, 30)), max_size=80
)


@settings(max_examples=120, deadline=None)
@given(
    moves=moves,
    capacity=st.integers(1, 30),
    levels=st.builds(Levels, st.just(4))
    | st.builds(
        lambda found: Levels(4, limits=found),
        st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30), st.integers(1, 30)),
    ),
)
def test_places_and_bytes_are_never_passed(
    moves: list[tuple[bool, int, int, int]], capacity: int, levels: Levels
) -> None:
    admission = Admission(capacity, levels, max_bytes=60)
    places = levels.places(capacity)
    inside: list[Any] = []
    for enters, level, count, size in moves:
        if enters:
            before = (admission.waiting, admission.held_bytes)
            try:
                admission.enter(count, level, size * count)
                inside += [(level, size)] * count
            except QueueFullError:
                assert (admission.waiting, admission.held_bytes) == before
        elif inside:
            admission.leave(*inside.pop(count % len(inside)))
        for level_, limit in enumerate(places, 1):
            assert sum(level >= level_ for level, _ in inside) <= limit
        assert admission.waiting == len(inside)
        assert admission.held_bytes == sum(size for _, size in inside)
        assert admission.ahead(2) == sum(level <= 2 for level, _ in inside)
    for level, size in inside:
        admission.leave(level, size)
    assert (admission.waiting, admission.held_bytes, admission.ahead(1)) == (0, 0, 0)
