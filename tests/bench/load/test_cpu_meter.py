from __future__ import annotations

import time

from beyond_serve.bench.load.cpu_meter import CpuMeter


def test_work_between_the_marks_is_counted() -> None:
    meter = CpuMeter()
    meter.mark()
    end = time.thread_time_ns() + 5_000_000
    while time.thread_time_ns() < end:
        pass
    shares = meter.shares()
    assert 0 < shares.thread <= 1.05
    assert shares.process >= shares.thread * 0.99
    assert 0 <= shares.waiting <= 1.05
    # A thread that only computes either has a core or waits for one.
    assert shares.thread + shares.waiting > 0.8


def test_only_the_first_two_marks_count() -> None:
    meter = CpuMeter()
    meter.mark()
    meter.mark()
    before = meter.shares()
    meter.mark()
    assert meter.shares() == before


def test_without_a_first_mark_there_is_nothing() -> None:
    assert CpuMeter().shares() == (0.0, 0.0, 0.0)
