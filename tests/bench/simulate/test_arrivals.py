"""When simulated requests arrive."""

from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.bench.load.arrivals import Bursts, ConstantRate, Poisson, Replay
from beyond_serve.bench.simulate.arrivals import Uneven, arrival_times, parse_arrivals
from beyond_serve.errors import ConfigError


@pytest.mark.parametrize("text", ["poisson", "constant", "burst:1", "burst:100", "uneven", "uneven:5"])
def test_all_kinds_have_the_asked_mean_rate_and_ascend(text: str) -> None:
    times = arrival_times(parse_arrivals(text)(1000.0), 20_000, seed=1)
    assert len(times) == 20_000
    assert np.all(np.diff(times) >= 0)
    assert times[-1] / 1e9 == pytest.approx(20.0, rel=0.03)


def test_the_same_seed_gives_the_same_arrivals_and_another_others() -> None:
    for arrivals in (Poisson(100.0), Uneven(100.0)):
        first = arrival_times(arrivals, 100, seed=3)
        assert np.array_equal(first, arrival_times(arrivals, 100, seed=3))
        assert not np.array_equal(first, arrival_times(arrivals, 100, seed=4))


def test_recorded_arrivals_come_as_recorded() -> None:
    assert arrival_times(Replay((0.0, 0.25, 0.25)), 3, seed=0).tolist() == [0, 250_000_000, 250_000_000]


def test_uneven_traffic_has_its_peak_rate_in_its_share_of_the_time() -> None:
    uneven = Uneven(1000.0, peak=4.0, share=0.1, period_s=2.0)
    assert uneven.burst == 800
    times = arrival_times(uneven, 40_000, seed=0) / 1e9
    in_peak = np.mod(times, 2.0) >= 2.0 * 0.9
    assert np.count_nonzero(in_peak) / len(times) == pytest.approx(0.4, abs=0.02)


def test_kinds_by_name() -> None:
    assert parse_arrivals("poisson")(7.0) == Poisson(7.0)
    assert parse_arrivals("constant")(7.0) == ConstantRate(7.0)
    assert parse_arrivals("burst:14")(7.0) == Bursts(14, 2.0)
    assert parse_arrivals("uneven:2")(7.0) == Uneven(7.0, 2.0)


@pytest.mark.parametrize("text", ["", "gamma", "burst", "burst:x", "poisson:3", "uneven:x"])
def test_what_is_no_kind_is_said_so(text: str) -> None:
    with pytest.raises(ConfigError, match="no arrivals are called"):
        parse_arrivals(text)


@pytest.mark.parametrize("text", ["burst:0", "uneven:6", "uneven:0.5"])
def test_a_kind_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_arrivals(text)(100.0)
