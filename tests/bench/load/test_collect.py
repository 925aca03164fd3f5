"""Which requests count, and what the figures are, on tables made by hand."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from beyond_serve.bench.load.arrivals import ClosedLoop, ConstantRate
from beyond_serve.bench.load.collect import judged
from tests.bench.load.tables import MS, STAGE_COUNT, S, spec, table

NAMES = ("", "HTTP 429", "connection refused")


def closed_loop(concurrency: int, latency_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """(scheduled, received) of a perfect closed loop, its places out of step."""
    rows = []
    for place in range(concurrency):
        at = place * latency_ns // concurrency
        while at < end_ns:
            rows.append((at, at + latency_ns))
            at += latency_ns
    return sorted(rows)


def test_littles_law_holds_in_a_steady_closed_loop() -> None:
    scheduled, received = np.array(closed_loop(8, 40 * MS, 12 * S)).T
    given = spec(ClosedLoop(8), duration_s=10.0, warmup_s=1.0)
    result = judged(given, table(scheduled, scheduled, received), NAMES, thread_cpu=(0.3,))
    assert result.littles_law_error == pytest.approx(0, abs=0.005)
    assert result.throughput_per_s == pytest.approx(200, rel=0.005)
    assert result.void == ()


def test_littles_law_notices_a_run_too_short_to_be_steady() -> None:
    # 64 in flight from the first moment, 10 answers/s: after 2 s none has waited its 6.4 s.
    received = (np.arange(64) + 1) * 100 * MS
    given = spec(ClosedLoop(64), duration_s=2.0)
    result = judged(given, table(np.zeros(64), np.zeros(64), received), NAMES, thread_cpu=(0.1,))
    assert result.littles_law_error is not None
    assert result.littles_law_error < -0.5
    assert "too short" in result.void[0]


def test_littles_law_notices_lost_requests() -> None:
    rows = np.array(closed_loop(8, 40 * MS, 10 * S))
    kept = rows[np.arange(len(rows)) % 20 != 0].T
    given = spec(ClosedLoop(8), duration_s=10.0)
    result = judged(given, table(kept[0], kept[0], kept[1]), NAMES, thread_cpu=(0.1,))
    assert result.littles_law_error == pytest.approx(-0.05, abs=0.01)
    assert len(result.void) == 1


def test_places_that_rested_leave_littles_law_unsaid() -> None:
    given = spec(ClosedLoop(1), duration_s=1.0)
    result = judged(given, table([0, MS], [0, MS], [MS, 2 * MS], error=[0, 2]), NAMES, thread_cpu=(0.1,))
    assert result.littles_law_error is None


def test_an_open_load_counts_what_was_scheduled_in_the_measured_time() -> None:
    scheduled = np.arange(0, 5000, 10) * MS
    given = spec(ConstantRate(100), duration_s=4.0, warmup_s=1.0)
    result = judged(given, table(scheduled, scheduled, scheduled + 2 * S), NAMES, thread_cpu=(0.1,))
    # Those that came after the end waited 2 s all the same, and are not left out.
    assert len(result.measured) == 400
    assert result.summary()["offered_per_s"] == pytest.approx(100)
    # In the measured time came what was scheduled from -1 s to 3 s, and -1 s to 0 s was never.
    assert result.throughput_per_s == pytest.approx(300 / 4, abs=0.5)


def test_a_closed_loop_counts_what_ended_in_the_measured_time() -> None:
    scheduled, received = np.array(closed_loop(1, 300 * MS, 4 * S)).T
    given = spec(ClosedLoop(1), duration_s=2.0, warmup_s=1.0)
    measured = judged(given, table(scheduled, scheduled, received), NAMES, thread_cpu=(0.1,)).measured
    assert measured.received_ns.min() >= S
    assert measured.received_ns.max() <= 3 * S


def test_a_counted_run_lasts_to_its_last_answer() -> None:
    given = spec(ClosedLoop(1), duration_s=None, count=10)
    at = np.arange(10) * 100 * MS
    result = judged(given, table(at, at, at + 100 * MS), NAMES, thread_cpu=(0.1,))
    assert result.window.seconds == 1.0
    assert result.throughput_per_s == 10


def test_refusals_are_no_fast_answers() -> None:
    count = 600
    scheduled = np.arange(count) * MS
    latency = np.where(np.arange(count) % 2, 100 * MS, 1000)
    error = np.where(np.arange(count) % 2, 0, 1)
    given = spec(ConstantRate(1000), duration_s=0.7, slo_ms=150.0)
    result = judged(
        given, table(scheduled, scheduled, scheduled + latency, error=error), NAMES, thread_cpu=(0.1,)
    )
    summary = result.summary()
    assert summary["errors"] == {"HTTP 429": 300}
    assert summary["error_rate"] == 0.5
    assert result.answered.latency_ns.min() == 100 * MS
    assert result.goodput_per_s == result.throughput_per_s == pytest.approx(300 / 0.7)


def test_goodput_counts_only_what_kept_the_slo() -> None:
    scheduled = np.arange(1000) * MS
    latency = np.where(np.arange(1000) < 250, 200 * MS, 5 * MS)
    given = spec(ConstantRate(1000), duration_s=2.0, slo_ms=50.0)
    result = judged(given, table(scheduled, scheduled, scheduled + latency), NAMES, thread_cpu=(0.1,))
    assert result.throughput_per_s == 500
    assert result.goodput_per_s == 375


def test_the_summary_is_json_and_of_one_shape_even_without_a_request() -> None:
    given = spec(ConstantRate(10), duration_s=1.0)
    full = judged(given, table([0], [0], [MS], stages_us=np.ones((1, STAGE_COUNT))), NAMES, thread_cpu=(0.1,))
    empty = judged(given, table([], [], [], stages_us=np.ones((0, STAGE_COUNT))), NAMES, thread_cpu=())
    assert orjson.dumps(full.summary())
    assert orjson.dumps(empty.summary())
    assert full.summary().keys() == empty.summary().keys()
    assert empty.void == ("no request ended in the measured time",)


def test_the_mean_batch_is_of_batches_not_of_requests() -> None:
    one = table([0] * 9, [0] * 9, [MS] * 9, stages_us=np.ones((9, STAGE_COUNT)))
    one.batch_size[:] = [8] * 8 + [1]
    given = spec(ConstantRate(10), duration_s=1.0)
    assert judged(given, one, NAMES, thread_cpu=(0.1,)).summary()["batch_size_mean"] == pytest.approx(4.5)
