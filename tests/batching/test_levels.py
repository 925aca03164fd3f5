"""Priority levels: order, places, and how long one may be overtaken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beyond_serve.batching import Lane, Levels, Request, Trace
from beyond_serve.errors import ConfigError

SECOND = 1_000_000_000


@pytest.mark.parametrize(("count", "middle"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_no_priority_means_the_middle_level(count: int, middle: int) -> None:
    levels = Levels(count)
    assert levels.default == levels.level(0) == middle
    assert levels.handicap_ns(middle) == 0


def test_priorities_beyond_the_last_are_the_last_and_negative_ones_are_none() -> None:
    assert [Levels(3).level(priority) for priority in (-5, 1, 2, 3, 4, 99)] == [2, 1, 2, 3, 3, 3]


def test_places_grow_and_shrink_by_a_tenth_and_never_vanish() -> None:
    assert Levels(3).places(100) == (110, 100, 90)
    assert Levels(1).places(7) == (7,)
    assert min(Levels(40).places(1)) == 1
    assert Levels(3, limits=(9, 5, 2)).places(100) == (9, 5, 2)


def test_limits_are_given_for_each_level_or_not_at_all() -> None:
    with pytest.raises(ConfigError, match="2 queue limits for 3 priority levels"):
        Levels(3, limits=(1, 2))


@given(st.integers(1, 12), st.integers(1, 10_000))
def test_places_nest(count: int, capacity: int) -> None:
    levels = Levels(count)
    places = levels.places(capacity)
    assert list(places) == sorted(places, reverse=True)
    assert places[levels.default - 1] == capacity


@given(
    count=st.integers(1, 5),
    ageing_ns=st.integers(0, 2 * SECOND),
    arrivals=st.lists(st.tuples(st.integers(1, 5), st.integers(0, SECOND)), max_size=40),
    victim=st.integers(0, 39),
)
def test_one_is_overtaken_only_by_better_levels_that_come_within_the_ageing_time(
    count: int, ageing_ns: int, arrivals: list[tuple[int, int]], victim: int
) -> None:
    levels, lane = Levels(count, ageing_ns), Lane()
    came: list[tuple[int, int]] = []
    now_ns = 0
    for number, (priority, gap_ns) in enumerate(arrivals):
        now_ns += gap_ns
        level = levels.count if number == victim else levels.level(priority)
        came.append((level, now_ns))
        request = Request(number, "image", Trace(0, 0), lambda _: None, level=level)
        request.handicap_ns = levels.handicap_ns(level)
        lane.append(now_ns, request)
    order = [request.payload for request in lane.drain()]
    if victim < len(came):
        for number in order[: order.index(victim)]:
            level, at_ns = came[number]
            if number > victim:
                assert level < levels.count
                assert at_ns - came[victim][1] < (levels.count - level) * ageing_ns
