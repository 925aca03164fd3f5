"""A lane is a sorted list of those that live."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.batching import NEVER_NS, Lane, Request, Trace
from beyond_serve.batching.lane import UNDATED_NS

SECOND = 1_000_000_000


def request_of(name: object, deadline_ns: int | None = None, handicap_ns: int = 0) -> Request:
    request = Request(name, "image", Trace(0, 0), lambda _: None, deadline_ns)
    request.handicap_ns = handicap_ns
    return request


def payloads(requests: list[Request]) -> list[Any]:
    return [request.payload for request in requests]


class SortedModel:
    """What a lane should be, as slowly as one likes: rows of (key, number, ready, request)."""

    def __init__(self, by_deadline: bool) -> None:
        self.by_deadline = by_deadline
        self.rows: list[tuple[int, int, int, Request]] = []

    def append(self, number: int, ready_ns: int, request: Request) -> None:
        due_ns = ready_ns
        if self.by_deadline:
            due_ns = ready_ns + UNDATED_NS if request.deadline_ns is None else request.deadline_ns
        self.rows.append((due_ns + request.handicap_ns, number, ready_ns, request))
        self.rows.sort(key=lambda row: row[:2])

    def forget(self, request: Request) -> None:
        self.rows = [row for row in self.rows if row[3] is not request]

    def take(self, size: int) -> list[Request]:
        taken, self.rows = self.rows[:size], self.rows[size:]
        return [row[3] for row in taken]


def entries_of(lane: Lane) -> int:
    return len(lane._entries) + len(lane._by_age or ())


def agree(lane: Lane, model: SortedModel) -> None:
    rows = model.rows
    deadlines = [NEVER_NS if r.deadline_ns is None else r.deadline_ns for _, _, _, r in rows]
    assert lane.living == len(rows)
    assert lane.deadlines_ns(max(len(rows), 1)) == deadlines
    assert lane.deadlines_ns(2) == deadlines[:2]
    earliest = min(deadlines[:3], default=NEVER_NS)
    assert lane.earliest_deadline_ns(3) == (None if earliest == NEVER_NS else earliest)
    if rows:
        assert lane.first() is rows[0][3]
        assert lane.urgency_ns() == rows[0][0]
        assert lane.head_ns() == min(row[2] for row in rows)


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("append"),
            st.integers(0, 3),
            st.none() | st.integers(0, 40),
            st.sampled_from([-SECOND, -3, 0, 0, 5, SECOND]),
        ),
        st.tuples(st.just("forget"), st.integers(0, 1_000)),
        st.tuples(st.just("take"), st.integers(0, 5)),
    ),
    max_size=60,
)


@settings(max_examples=120, deadline=None)
@given(steps=steps, by_deadline=st.booleans())
def test_it_equals_a_sorted_list(steps: list[tuple[Any, ...]], by_deadline: bool) -> None:
    lane, model = Lane(by_deadline=by_deadline), SortedModel(by_deadline)
    now_ns = 1
    for number, (kind, *details) in enumerate(steps):
        if kind == "append":
            now_ns += details[0]
            deadline_ns = None if details[1] is None else now_ns + details[1]
            request = request_of(number, deadline_ns, details[2])
            lane.append(now_ns, request)
            model.append(number, now_ns, request)
        elif kind == "forget" and model.rows:
            request = model.rows[details[0] % len(model.rows)][3]
            request.cancel()
            model.forget(request)
        elif kind == "take":
            assert payloads(lane.take(details[0])) == payloads(model.take(details[0]))
        agree(lane, model)
    assert payloads(lane.drain()) == payloads(model.take(len(model.rows)))
    assert (lane.living, lane.drain(), entries_of(lane)) == (0, [], 0)


@given(st.lists(st.sampled_from([-SECOND, 0, SECOND]), max_size=30))
def test_first_in_is_first_out_within_a_level(handicaps: list[int]) -> None:
    lane = Lane()
    for number, handicap_ns in enumerate(handicaps):
        lane.append(number, request_of((handicap_ns, number), handicap_ns=handicap_ns))
    order = payloads(lane.drain())
    for level in set(handicaps):
        assert [n for of, n in order if of == level] == [n for n, of in enumerate(handicaps) if of == level]


def test_what_is_taken_waits_no_longer() -> None:
    lane = Lane()
    request = request_of("a")
    lane.append(1, request)
    assert request.lane is lane
    lane.take(1)
    assert request.lane is None


def test_an_undated_request_stands_behind_those_due_within_ten_seconds() -> None:
    lane = Lane(by_deadline=True)
    lane.append(5, request_of("undated"))
    lane.append(6, request_of("due later", 5 + UNDATED_NS + 1))
    lane.append(7, request_of("due sooner", 5 + UNDATED_NS - 1))
    assert payloads(lane.drain()) == ["due sooner", "undated", "due later"]


def test_the_dead_do_not_pile_up() -> None:
    for by_deadline in (False, True):
        lane = Lane(by_deadline=by_deadline)
        # The one that stays has the latest key, so that every other is in the middle.
        lane.append(0, request_of("stays", 10**15, 10**15))
        for number in range(1, 3_000):
            request = request_of(number, 10_000_000 - number, -number)
            lane.append(number, request)
            request.cancel()
            assert entries_of(lane) <= 2 * (2 * lane.living + 65)
        assert payloads(lane.drain()) == ["stays"]


def test_those_that_went_do_not_pile_up_either_while_one_stays() -> None:
    lane = Lane()
    lane.append(0, request_of("stays", handicap_ns=10**15))
    for number in range(1, 3_000):
        lane.append(number, request_of(number))
        assert payloads(lane.take(1)) == [number]
        assert entries_of(lane) <= 2 * (2 * lane.living + 65)
