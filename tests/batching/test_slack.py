"""How much before its deadline a request must be expected to end, learned from those that were late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from beyond_serve.batching import Admission, BatchCost, Batcher, DeadlinePolicy
from beyond_serve.batching.forecast import MISSES, STEP_NS, Slack
from tests.fakes.batching import Ended, FakeInstance, make_request
from tests.fakes.clock import FakeClock

MS = 1_000_000


def test_it_rises_with_what_was_late_and_falls_slowly_with_what_was_run() -> None:
    slack = Slack()
    slack.missed(3)
    assert slack.ns == 3 * STEP_NS
    slack.met(round(1 / MISSES))
    assert abs(slack.ns - 2 * STEP_NS) < STEP_NS / 100


def test_it_rests_where_the_share_of_the_late_is_the_one_wanted() -> None:
    slack = Slack()
    slack.missed(10)
    before = slack.ns
    for _ in range(3):
        slack.met(round(1 / MISSES))
        slack.missed(1)
    assert abs(slack.ns - before) < STEP_NS / 100


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5000))))
def test_it_stays_within_its_bounds(steps: list[tuple[bool, int]]) -> None:
    slack = Slack(most_ns=5 * MS)
    for late, count in steps:
        (slack.missed if late else slack.met)(count)
        assert 0 <= slack.ns <= 5 * MS


def test_a_request_given_up_in_the_queue_makes_the_next_forecast_more_careful() -> None:
    clock, ended = FakeClock(), Ended()
    cost = BatchCost(4, {1: 2.0 * MS, 4: 5.0 * MS})
    batcher = Batcher(DeadlinePolicy(), Admission(10), clock, max_batch=4, cost=cost)
    instance = FakeInstance("i", batcher, clock)
    batcher.instance_ready(instance)
    batcher.enqueue(make_request("running", clock, ended))
    clock.settle()
    batcher.enqueue(make_request("late", clock, ended, deadline_ns=clock.now_ns() + 3 * MS))
    assert batcher.wait_margin_ns(0) == 0
    clock.advance(2 * MS)
    instance.complete()
    assert ended.results() == ["deadline_exceeded", "result of running"]
    assert batcher.wait_margin_ns(0) == STEP_NS
