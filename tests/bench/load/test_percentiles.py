from __future__ import annotations

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram

from beyond_serve.bench.load.percentiles import PERCENTILES, has_enough, histogram, latency_summary


def latencies(count: int = 60_000) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng(1).lognormal(15, 1, count).astype(np.int64)


def test_the_histogram_is_the_one_that_recording_each_value_makes() -> None:
    values = latencies(3000)
    one_by_one = HdrHistogram(1, 3_600_000_000_000, 3)
    for value in values.tolist():
        one_by_one.record_value(value)
    counted = histogram(values)
    assert counted.encode() == one_by_one.encode()


def test_percentiles_are_those_of_the_sorted_values_to_three_digits() -> None:
    values = np.sort(latencies())
    found = latency_summary(values)
    for name, percentile in PERCENTILES.items():
        # Which of two neighbours has the rank is a matter of rounding: between them it must lie.
        rank = int(len(values) * percentile / 100)
        low, high = values[rank - 1] / 1e6, values[rank] / 1e6
        value = found[name]
        assert value is not None
        assert low * (1 - 1e-3) <= value <= high * (1 + 1e-3)
    assert found["mean"] == pytest.approx(values.mean() / 1e6)
    assert found["max"] == values.max() / 1e6


def test_too_few_samples_have_no_tail() -> None:
    found = latency_summary(latencies(499))
    assert found["p95"] is not None
    assert found["p99"] is None
    assert found["p99.99"] is None


@pytest.mark.parametrize(("count", "percentile"), [(10, 50), (500, 99), (5000, 99.9), (50_000, 99.99)])
def test_five_must_lie_beyond(count: int, percentile: float) -> None:
    assert has_enough(count, percentile)
    assert not has_enough(count - 1, percentile)


def test_no_values_have_nothing() -> None:
    assert set(latency_summary(np.array([], np.int64)).values()) == {None}


def test_values_beyond_the_range_are_counted_at_its_end() -> None:
    assert histogram(np.array([10**15, -5])).get_total_count() == 2
