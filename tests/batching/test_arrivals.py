"""The mean gap between arrivals, read when it is asked for."""

from __future__ import annotations

import pytest

from beyond_serve.batching import ArrivalRate

MS = 1_000_000
SECOND = 1_000 * MS


def feed(rate: ArrivalRate, now_ns: int, gap_ns: int, count: int) -> int:
    """`count` arrivals, each `gap_ns` after the last, each followed by a look. The time after them."""
    for _ in range(count):
        now_ns += gap_ns
        rate.count += 1
        rate.gap_ns(now_ns)
    return now_ns


def test_nothing_is_known_before_a_window_is_full() -> None:
    rate = ArrivalRate()
    now_ns = feed(rate, SECOND, MS, 16)
    assert rate.gap_ns(now_ns) == 0
    assert rate.gap_ns(feed(rate, now_ns, MS, 1)) == MS


def test_a_steady_rate_is_found_and_kept() -> None:
    rate = ArrivalRate()
    assert rate.gap_ns(feed(rate, SECOND, MS, 200)) == pytest.approx(MS, rel=0.01)


def test_bursts_count_by_their_mean_rate() -> None:
    rate, now_ns = ArrivalRate(), SECOND
    rate.gap_ns(now_ns)
    for _ in range(20):
        now_ns += 100 * MS
        rate.count += 100
        gap_ns = rate.gap_ns(now_ns)
    assert gap_ns == MS


def test_many_at_the_same_time_wait_for_time_to_pass() -> None:
    rate = ArrivalRate()
    rate.gap_ns(SECOND)
    rate.count += 1_000
    assert rate.gap_ns(SECOND) == 0
    assert rate.gap_ns(SECOND + MS) == MS / 1_000


def test_a_change_of_less_than_four_times_is_averaged() -> None:
    rate = ArrivalRate()
    now_ns = feed(rate, SECOND, MS, 17)
    assert rate.gap_ns(feed(rate, now_ns, 2 * MS, 16)) == 1.5 * MS


@pytest.mark.parametrize("gap_ns", [10_000, 10 * MS])
def test_a_larger_change_is_believed_after_one_window(gap_ns: int) -> None:
    rate = ArrivalRate()
    now_ns = feed(rate, SECOND, MS, 17)
    assert rate.gap_ns(feed(rate, now_ns, gap_ns, 16)) == pytest.approx(gap_ns, rel=0.5)


def test_after_a_quiet_hour_one_window_tells_the_new_rate() -> None:
    rate = ArrivalRate()
    now_ns = feed(rate, SECOND, MS, 100) + 3_600 * SECOND
    assert rate.gap_ns(now_ns) > SECOND, "they have become slow"
    assert rate.gap_ns(feed(rate, now_ns, MS // 10, 32)) == pytest.approx(MS // 10, rel=0.1)
