"""Who used the server's cores: counted over the measured time alone."""

from __future__ import annotations

import time

import pytest

from beyond_serve.bench.experiments.cpu_time import CpuMeter, CpuShares, busy_seconds, disturbance
from beyond_serve.bench.load.spec import LoadProgress


def progress(elapsed_s: float, *, warming_up: bool = False) -> LoadProgress:
    return LoadProgress(elapsed_s, 10.0, warming_up, 9, 8, 1, 0, 1.25, 7.5)


def meter(*samples: tuple[float, float, float]) -> CpuMeter:
    """Samples of time, the server's CPU seconds and its cores' busy seconds, in the order they are taken."""
    now, own, busy = (iter(column) for column in zip(*samples, strict=True))
    return CpuMeter(lambda: next(own), lambda: next(busy), lambda: next(now))


def test_cpu_counts_neither_the_warm_up_nor_what_comes_after() -> None:
    measured = meter((10.0, 1.0, 50.0), (11.0, 2.5, 51.8), (12.0, 4.0, 53.6))
    measured.sample(progress(1.0, warming_up=True))
    for elapsed_s in (2.0, 3.0, 4.0):
        measured.sample(progress(elapsed_s))
    measured.sample(progress(10.5))
    shares = measured.shares(2)
    assert shares.own == pytest.approx(0.75)
    assert shares.others == pytest.approx(0.15)


def test_cpu_of_one_sample_is_not_known() -> None:
    measured = meter((10.0, 1.0, 50.0))
    assert measured.shares(1) == CpuShares()
    measured.sample(progress(2.0))
    assert measured.shares(1) == CpuShares()


def test_coarse_counters_make_no_negative_others() -> None:
    measured = meter((10.0, 1.0, 50.0), (11.0, 2.0, 50.9))
    measured.sample(progress(2.0))
    measured.sample(progress(3.0))
    assert measured.shares(1).others == 0.0


def test_rounding_errors_are_nobody() -> None:
    measured = meter((10.0, 1.0, 50.0), (11.0, 1.1, 50.1))
    measured.sample(progress(2.0))
    measured.sample(progress(3.0))
    assert 50.1 - 50.0 > 1.1 - 1.0 > 0
    assert measured.shares(1).others == 0.0


def test_cores_are_busy_with_whatever_runs() -> None:
    before = busy_seconds((0,))
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    assert busy_seconds((0,)) >= before > 0
    assert busy_seconds((100_000,)) == 0


def test_a_server_that_shared_its_cores_is_told_of() -> None:
    points = [{"server": {"others_cpu": share}} for share in (0.05, 0.2, 0.6, None)]
    (line,) = disturbance([*points, {}])
    assert line.startswith("DISTURBED: in 2 of 4 points other programs took 20 to 60 % of the server's cores")
    assert disturbance(points[:1]) == []
