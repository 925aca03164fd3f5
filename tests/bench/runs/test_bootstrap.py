"""The statistics of `compare-runs`: right as often as they claim, and the same from both ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from beyond_serve.bench.runs.bootstrap import geometric_mean_ratio, ratio, student_quantile

positive = st.floats(0.01, 1e6)
repetitions = st.lists(positive, min_size=1, max_size=8)


@pytest.mark.parametrize("freedom", [1, 2, 3, 8, 40, 200])
@pytest.mark.parametrize("probability", [0.6, 0.9, 0.975])
def test_student_quantile(freedom: int, probability: float) -> None:
    expected = stats.t.ppf(probability, freedom)
    assert student_quantile(probability, freedom) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("count", [2, 3, 5, 10])
@pytest.mark.parametrize("spread", [0.02, 0.2])
def test_the_interval_holds_the_truth_as_often_as_it_says(count: int, spread: float) -> None:
    random = np.random.default_rng(20)
    trials, held = 120, 0
    for trial in range(trials):
        a = random.lognormal(0, spread, count) * 100
        b = random.lognormal(0, spread, count) * 110
        found = ratio(list(a), list(b), seed=trial, resamples=400)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1.1 <= found.high
    # 95 % of 120 are 114; three standard deviations of a binomial are 7.
    assert held >= 107


def test_no_difference_is_rarely_shown_where_there_is_none() -> None:
    random = np.random.default_rng(3)
    shown = sum(
        ratio(list(random.normal(50, 2, 5)), list(random.normal(50, 2, 5)), seed=t, resamples=400).certain
        for t in range(150)
    )
    assert shown <= 16


def test_a_real_difference_is_shown() -> None:
    found = ratio([100, 101, 99, 100, 102], [110, 111, 109, 112, 110])
    assert found.certain
    assert found.value == pytest.approx(552 / 502)
    assert found.low is not None
    assert found.high is not None
    assert 1.08 < found.low < found.value < found.high < 1.12


@settings(max_examples=40, deadline=None)
@given(repetitions, repetitions, st.integers(0, 1000))
def test_exchanging_the_sides_inverts_everything(a: list[float], b: list[float], seed: int) -> None:
    forth, back = (ratio(*sides, seed=seed, resamples=200) for sides in ((a, b), (b, a)))
    assert forth.value == pytest.approx(1 / back.value)
    if forth.low is None or forth.high is None:
        assert back.low is None
        assert back.high is None
        return
    assert back.low is not None
    assert back.high is not None
    assert math.log(forth.low) == pytest.approx(-math.log(back.high), abs=1e-6)
    assert math.log(forth.high) == pytest.approx(-math.log(back.low), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.lists(positive, min_size=2, max_size=8), st.lists(positive, min_size=2, max_size=8), positive)
def test_the_unit_does_not_matter(a: list[float], b: list[float], unit: float) -> None:
    plain, scaled = (
        ratio(a, b, resamples=200),
        ratio([v * unit for v in a], [v * unit for v in b], resamples=200),
    )
    assert scaled.value == pytest.approx(plain.value)
    assert scaled.low == pytest.approx(plain.low)


@settings(max_examples=40, deadline=None)
@given(st.lists(positive, min_size=2, max_size=8))
def test_a_measurement_beside_itself_shows_no_difference(values: list[float]) -> None:
    found = ratio(values, values, resamples=200)
    assert found.value == 1.0
    assert not found.certain


def test_more_repetitions_narrow_the_interval() -> None:
    random = np.random.default_rng(1)
    widths = []
    for count in (3, 10, 40):
        found = ratio(list(random.normal(100, 5, count)), list(random.normal(100, 5, count)))
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(("a", "b"), [([1.0], [2.0]), ([1.0, 1.1], [2.0]), ([1.0], [2.0, 2.1])])
def test_one_repetition_gives_no_interval(a: list[float], b: list[float]) -> None:
    found = ratio(a, b)
    assert (found.low, found.high, found.certain) == (None, None, False)


def test_geometric_mean_over_measurements() -> None:
    found = geometric_mean_ratio([([1.0, 1.0], [2.0, 2.0]), ([3.0, 3.0], [1.5, 1.5])])
    assert found.value == pytest.approx(1.0)
    assert found.low == pytest.approx(1.0)


@pytest.mark.parametrize(
    "pairs",
    [[], [([], [1.0])], [([1.0], [0.0])], [([-1.0], [1.0])], [([1.0], [math.nan])], [([1.0], [math.inf])]],
)
def test_what_has_no_ratio(pairs: list[tuple[list[float], list[float]]]) -> None:
    with pytest.raises(ValueError, match=r"ratios are of|has no repetition"):
        geometric_mean_ratio(pairs)
