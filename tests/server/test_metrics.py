"""What is counted is what Prometheus reads."""

from __future__ import annotations

import random
from typing import ClassVar

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from beyond_serve.batching import STAGES, Batch, Request, Trace
from beyond_serve.server.loop_lag import INTERVAL_NS, LoopLag
from beyond_serve.server.metrics import BUCKETS_S, Metrics, ModelMetrics, StageHistograms
from tests.fakes.clock import FakeClock


class Gauges:
    waiting = 3
    capacity = 10
    instances_alive = 2
    slots_free = 7
    queued_bytes = 4096
    rung = 1
    served_by_rung: ClassVar[dict[str, int]] = {"exact": 5, "fast": 2}


def trace_of(*spans_ns: int) -> Trace:
    trace = Trace(1_000, 1_000 + spans_ns[0])
    trace.replied = 1_000 + sum(spans_ns)
    return trace


def samples(metrics: Metrics) -> dict[tuple[str, frozenset], float]:
    registry = CollectorRegistry()
    registry.register(metrics)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[(name, frozenset(labels.items()))]


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics(LoopLag(FakeClock()))
    metrics.models["m"] = ModelMetrics("m", Gauges())
    return metrics


def test_stage_histograms_count_each_span_in_its_bucket(metrics: Metrics) -> None:
    model = metrics.models["m"]
    model.stages.record(trace_of(2_000_000, 30_000))
    model.stages.record(trace_of(40_000, 30_000))
    receive = {"model": "m", "stage": "receive"}
    assert value(metrics, "beyond_stage_seconds_bucket", le="5e-05", **receive) == 1
    assert value(metrics, "beyond_stage_seconds_bucket", le="0.0025", **receive) == 2
    assert value(metrics, "beyond_stage_seconds_count", **receive) == 2
    assert value(metrics, "beyond_stage_seconds_sum", **receive) == pytest.approx(0.00204)
    assert value(metrics, "beyond_request_seconds_sum", model="m") == pytest.approx(0.0021)


def test_folding_many_at_once_equals_counting_one_by_one() -> None:
    rng = random.Random(7)
    spans = [(rng.randrange(10**7), rng.randrange(10**9)) for _ in range(2_000)]
    histograms = StageHistograms()
    for span in spans:
        histograms.record(trace_of(*span))
    counts, sums = histograms.read()
    receive, reply = STAGES.index("receive"), STAGES.index("reply")
    for row, column in ((receive, 0), (reply, 1)):
        values = [span[column] for span in spans]
        assert sums[row] == sum(values)
        cumulative = counts[row].cumsum()
        for index, edge in enumerate(BUCKETS_S):
            assert cumulative[index] == sum(v <= edge * 1e9 for v in values)


def test_outcomes_batches_and_gauges(metrics: Metrics) -> None:
    model = metrics.models["m"]
    model.succeeded = 5
    model.failures["queue_full"] += 2
    model.cancelled["waiting"] += 1
    for size in (1, 3, 3):
        requests = [Request(None, "image", Trace(0, 0), lambda _: None) for _ in range(size)]
        model.record_batch(Batch(requests, "image", "idle"))
    assert value(metrics, "beyond_images_total", model="m") == 5
    assert value(metrics, "beyond_failures_total", model="m", reason="queue_full") == 2
    assert value(metrics, "beyond_cancelled_total", model="m", stage="waiting") == 1
    assert value(metrics, "beyond_batch_size_bucket", model="m", le="1") == 1
    assert value(metrics, "beyond_batch_size_bucket", model="m", le="4") == 3
    assert value(metrics, "beyond_batch_size_sum", model="m") == 7
    assert value(metrics, "beyond_batches_total", model="m", release="idle") == 3
    assert value(metrics, "beyond_queue_length", model="m") == 3
    assert value(metrics, "beyond_instances_alive", model="m") == 2


def test_instances_are_told_apart_with_their_devices(metrics: Metrics) -> None:
    model = metrics.models["m"]
    model.devices = {"m-cuda:0-0": "cuda:0", "m-cuda:1-0": "cuda:1"}
    for size in (2, 3):
        requests = [Request(b"", "image", Trace(0, 0), lambda _: None) for _ in range(size)]
        batch = Batch(requests, "image", "full")
        batch.start("m-cuda:1-0", simulated=False)
        model.record_batch(batch)
    second = {"model": "m", "instance": "m-cuda:1-0", "device": "cuda:1"}
    assert value(metrics, "beyond_instance_batches_total", **second) == 2
    assert value(metrics, "beyond_instance_images_total", **second) == 5
    first = {"model": "m", "instance": "m-cuda:0-0", "device": "cuda:0"}
    assert value(metrics, "beyond_instance_batches_total", **first) == 0


def test_loop_lag_is_how_late_a_timer_fires() -> None:
    clock = FakeClock()
    lag = LoopLag(clock)
    lag.start()
    clock.advance(INTERVAL_NS)
    clock.stall(INTERVAL_NS + 30_000_000)
    clock.advance(0)
    lag.stop()
    buckets, total_s = lag.histogram.read()
    assert buckets[-1] == ("+Inf", 2)
    assert dict(buckets)["0.02"] == 1
    assert total_s == pytest.approx(0.03, abs=1e-6)
    clock.advance(10 * INTERVAL_NS)
    assert lag.histogram.read()[0][-1] == ("+Inf", 2)
