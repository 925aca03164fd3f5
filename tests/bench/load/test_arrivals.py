"""Schedules: their statistics, their exactness, their cutting and their splitting."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from beyond_serve.bench.load.arrivals import (
    Bursts,
    ClosedLoop,
    ConstantRate,
    Limits,
    OpenArrivals,
    Poisson,
    Ramp,
    Replay,
    choose_images,
    schedule,
    share,
)
from beyond_serve.errors import ConfigError

TEN_SECONDS = Limits(warmup_s=0.0, duration_s=10.0, count=None)
ALL: tuple[OpenArrivals, ...] = (
    ConstantRate(333.0),
    Poisson(500.0),
    Bursts(32, 0.25),
    Ramp(10, 400),
    Replay(tuple(np.linspace(0, 9.5, 777).tolist())),
)


def test_poisson_gaps_are_exponential() -> None:
    gaps = np.diff(schedule(Poisson(500), Limits(0, 40, None), seed=7)) / 1e9
    assert len(gaps) > 19_000
    assert stats.kstest(gaps, stats.expon(scale=1 / 500).cdf).pvalue > 0.01


def test_the_kolmogorov_smirnov_test_would_notice_another_rate() -> None:
    gaps = np.diff(schedule(Poisson(500), Limits(0, 40, None), seed=7)) / 1e9
    assert stats.kstest(gaps, stats.expon(scale=1 / 515).cdf).pvalue < 0.01


def test_poisson_counts_vary_as_poisson_counts_do() -> None:
    times = schedule(Poisson(500), Limits(0, 40, None), seed=3) / 1e9
    counts = np.histogram(times, bins=400, range=(0, 40))[0]
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.2)


def test_a_constant_rate_is_exact_and_does_not_drift() -> None:
    times = schedule(ConstantRate(3), Limits(0, 1000, None), seed=0)
    assert len(times) == 3000
    assert times.tolist() == [round(i * 1e9 / 3) for i in range(3000)]


def test_bursts_come_whole_and_on_time() -> None:
    times = schedule(Bursts(3, 0.5), Limits(0, 1.5, None), seed=0)
    assert times.tolist() == [0] * 3 + [500_000_000] * 3 + [1_000_000_000] * 3


def test_a_ramp_offers_the_integral_of_its_rate() -> None:
    times = schedule(Ramp(100, 300), TEN_SECONDS, seed=0) / 1e9
    assert len(times) == pytest.approx(2000, abs=1)
    assert np.count_nonzero(times < 5) == pytest.approx(100 * 5 + 20 * 25 / 2, abs=1)
    assert 1 / np.diff(times)[-1] == pytest.approx(300, rel=0.01)


def test_a_ramp_may_fall_to_nothing_and_rise_from_it() -> None:
    assert len(schedule(Ramp(200, 0), TEN_SECONDS, seed=0)) == pytest.approx(1000, abs=1)
    assert len(schedule(Ramp(0, 200), Limits(1, 10, None), seed=0)) == pytest.approx(1000, abs=1)


def test_a_ramp_warms_up_at_its_first_rate() -> None:
    times = schedule(Ramp(100, 300), Limits(2, 10, None), seed=0) / 1e9
    assert np.count_nonzero(times < 2) == 200
    assert np.all(np.diff(times) >= 0)


def test_a_replay_is_exact_and_ends_with_its_recording() -> None:
    recorded = (0.0, 0.25, 0.25, 1.125, 7.0)
    times = schedule(Replay(recorded), Limits(0, None, None), seed=0)
    assert times.tolist() == [round(second * 1e9) for second in recorded]


@pytest.mark.parametrize("arrivals", ALL, ids=lambda a: type(a).__name__)
def test_schedules_ascend_within_the_run_and_repeat(arrivals: OpenArrivals) -> None:
    limits = Limits(1.0, 8.0, None)
    times = schedule(arrivals, limits, seed=5)
    assert times.dtype == np.int64
    assert np.all(np.diff(times) >= 0)
    assert times[0] >= 0
    assert times[-1] < 9e9
    assert np.array_equal(times, schedule(arrivals, limits, seed=5))


@pytest.mark.parametrize("arrivals", ALL, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_workers_share_a_schedule_without_loss(arrivals: OpenArrivals, workers: int) -> None:
    times = schedule(arrivals, TEN_SECONDS, seed=1)
    parts = [share(times, worker, workers) for worker in range(workers)]
    assert np.array_equal(np.sort(np.concatenate(parts)), times)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_count_is_of_what_follows_the_warm_up() -> None:
    times = schedule(ConstantRate(100), Limits(2.0, None, 50), seed=0)
    assert np.count_nonzero(times < 2e9) == 200
    assert np.count_nonzero(times >= 2e9) == 50


def test_the_first_of_two_limits_ends_the_run() -> None:
    assert len(schedule(ConstantRate(100), Limits(0, 1.0, 5000), seed=0)) == 100
    assert len(schedule(ConstantRate(100), Limits(0, 100.0, 30), seed=0)) == 30


def test_another_seed_is_another_schedule_and_a_longer_one_only_adds() -> None:
    short = schedule(Poisson(100), Limits(0, 5, None), seed=1)
    longer = schedule(Poisson(100), Limits(0, 50, None), seed=1)
    assert np.array_equal(longer[: len(short)], short)
    assert not np.array_equal(schedule(Poisson(100), Limits(0, 5, None), seed=2)[:100], short[:100])


def test_images_are_drawn_by_weight() -> None:
    drawn = choose_images((70, 20, 10), 100_000, seed=4)
    shares = np.bincount(drawn) / len(drawn)
    assert shares == pytest.approx([0.7, 0.2, 0.1], abs=0.01)
    assert np.array_equal(choose_images((70, 20, 10), 1000, seed=4), drawn[:1000])


def test_a_weight_of_nothing_is_never_drawn() -> None:
    assert set(choose_images((1, 0, 1), 10_000, seed=0).tolist()) == {0, 2}


def test_images_and_schedule_have_streams_of_their_own() -> None:
    gaps = np.diff(schedule(Poisson(500), TEN_SECONDS, seed=1))
    drawn = choose_images((1, 1), len(gaps), seed=1)
    assert abs(np.corrcoef(gaps, drawn)[0, 1]) < 0.05
    assert not np.array_equal(choose_images((1, 1), 100, seed=1, worker=0), choose_images((1, 1), 100, 1, 1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ClosedLoop(0),
        lambda: ConstantRate(0),
        lambda: ConstantRate(float("nan")),
        lambda: Poisson(-3),
        lambda: Poisson(1e9),
        lambda: Bursts(0, 1),
        lambda: Bursts(1, 0),
        lambda: Ramp(-1, 5),
        lambda: Ramp(0, 0),
        lambda: Replay(()),
        lambda: Replay((1.0, 0.5)),
        lambda: schedule(Ramp(1, 2), Limits(0, None, None), 0),
        lambda: schedule(Replay((5.0,)), Limits(0, 1.0, None), 0),
    ],
)
def test_loads_that_cannot_be_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ConfigError):
        make()
