"""The server's own counters, from its text."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from prometheus_client import CollectorRegistry, generate_latest

from beyond_serve.bench.experiments.counters import Counters, read_counters
from beyond_serve.server.loop_lag import LoopLag
from beyond_serve.server.metrics import Metrics, ModelMetrics
from tests.fakes.clock import FakeClock

_TEXT = """\
# HELP beyond_batches_total Batches by why they left.
# TYPE beyond_batches_total counter
beyond_batches_total{model="demo",release="full"} 3.0
beyond_batches_total{model="demo",release="delay"} 1.0
beyond_batches_total{model="other",release="full"} 99.0
# HELP beyond_batch_size Images per batch.
# TYPE beyond_batch_size histogram
beyond_batch_size_bucket{le="+Inf",model="demo"} 4.0
beyond_batch_size_count{model="demo"} 4.0
beyond_batch_size_sum{model="demo"} 100.0
# HELP beyond_failures_total Images answered with an error.
# TYPE beyond_failures_total counter
beyond_failures_total{model="demo",reason="queue_full"} 5.0
# HELP beyond_event_loop_lag_seconds How late the event loop runs timers.
# TYPE beyond_event_loop_lag_seconds histogram
beyond_event_loop_lag_seconds_bucket{le="+Inf"} 10.0
beyond_event_loop_lag_seconds_count 10.0
beyond_event_loop_lag_seconds_sum 0.02
"""


def test_counters_of_one_model() -> None:
    found = read_counters(_TEXT, "demo")
    assert found == Counters({"full": 3.0, "delay": 1.0}, 100.0, {"queue_full": 5.0}, 0.02, 10.0)
    assert found.describe() == {
        "batches": 4.0,
        "batch_size_mean": 25.0,
        "releases": {"full": 0.75, "delay": 0.25},
        "failures": {"queue_full": 5.0},
        "loop_lag_ms": 2.0,
    }


def test_between_two_readings() -> None:
    found = read_counters(_TEXT, "demo").since(Counters({"full": 2.0}, 90.0, {"queue_full": 5.0}, 0.01, 5.0))
    assert (found.batches, found.images, found.lags) == ({"full": 1.0, "delay": 1.0}, 10.0, 5.0)
    assert found.describe()["failures"] == {}


def test_nothing_happened() -> None:
    assert read_counters("", "demo").describe() == {
        "batches": 0,
        "batch_size_mean": None,
        "releases": {},
        "failures": {},
        "loop_lag_ms": None,
    }


def test_the_real_metrics_page_has_these_names() -> None:
    """What is read here is what the server writes."""

    class Gauges:
        waiting = capacity = instances_alive = slots_free = queued_bytes = rung = 0
        served_by_rung: Mapping[str, int] = MappingProxyType({})

    metrics = Metrics(LoopLag(FakeClock()))
    model = ModelMetrics("demo", Gauges())
    model.batch_sizes[8] = 2
    model.releases["full"] = 2
    model.failures["bad"] = 1
    metrics.models["demo"] = model
    registry = CollectorRegistry()
    registry.register(metrics)  # type: ignore[arg-type]
    found = read_counters(generate_latest(registry).decode(), "demo")
    assert (found.batches, found.images, found.failures) == ({"full": 2.0}, 16.0, {"bad": 1.0})
