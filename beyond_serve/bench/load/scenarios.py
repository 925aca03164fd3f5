"""MLPerf Inference's four scenarios, as presets over the arrivals, with MLPerf's own metrics.

Source: MLCommons, inference_policies, inference_rules.adoc, section "Scenarios" (the table of query
generation, duration, samples per query, tail latency and metric). Latency counts from the schedule there
too. What is measured here is no MLPerf result: that takes LoadGen, its data sets and its run lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from beyond_serve.bench.load.arrivals import Arrivals, ClosedLoop, Poisson
from beyond_serve.bench.load.percentiles import has_enough
from beyond_serve.bench.load.result import LoadResult
from beyond_serve.errors import ConfigError

MULTI_STREAM_SAMPLES = 8
OFFLINE_SAMPLES = 24_576
SERVER_SLO_MS = 15.0
"""ResNet-50's, of the data centre suite; other models have other bounds."""

MINIMUM_S = 600.0


@dataclass(frozen=True, slots=True)
class Metric:
    """MLPerf's one figure of a run. `value` is None where there were too few requests for it."""

    name: str
    value: float | None
    unit: str
    met: bool | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A preset: what is offered, and the metric.

    Attributes:
        counted: a number of samples ends the run, not a time.
        slo_ms: the latency bound that belongs to it, if one does.
    """

    name: str
    text: str
    arrivals: Callable[[float | None, int | None], Arrivals]
    metric: Callable[[LoadResult], Metric]
    counted: int | None = None
    slo_ms: float | None = None


def query_latencies_ns(result: LoadResult) -> NDArray[np.int64]:
    """Per query of a closed loop that succeeded: from its schedule to its last sample's answer."""
    table = result.measured
    keys = np.stack((table.worker.astype(np.int64), table.scheduled_ns))
    _, query, sizes = np.unique(keys, axis=1, return_inverse=True, return_counts=True)
    query = query.reshape(-1)
    ends = np.zeros(len(sizes), np.int64)
    np.maximum.at(ends, query, table.latency_ns)
    failed = np.zeros(len(sizes), np.bool_)
    failed[query[table.error != 0]] = True
    assert result.spec.is_closed
    # The window's edges cut queries: only whole ones have a latency.
    samples = getattr(result.spec.arrivals, "samples", 1)
    whole: NDArray[np.int64] = ends[(sizes % samples == 0) & ~failed]
    return whole


def _percentile_ms(values_ns: NDArray[np.int64], percentile: float) -> float | None:
    return (
        float(np.percentile(values_ns, percentile)) / 1e6 if has_enough(len(values_ns), percentile) else None
    )


def _single(result: LoadResult) -> Metric:
    return Metric("90th percentile latency", _percentile_ms(result.answered.latency_ns, 90), "ms")


def _multi(result: LoadResult) -> Metric:
    return Metric("99th percentile latency of a query", _percentile_ms(query_latencies_ns(result), 99), "ms")


def _server(result: LoadResult) -> Metric:
    """Valid at this rate if the 99th percentile keeps the bound; errors count as broken bounds."""
    bound = (result.spec.slo_ms or SERVER_SLO_MS) * 1e6
    measured = result.measured
    seconds = result.window.seconds
    if not has_enough(len(measured), 99) or not seconds:
        return Metric("scheduled requests/s that keep the bound", None, "requests/s")
    kept = np.count_nonzero((measured.error == 0) & (measured.latency_ns <= bound)) / len(measured)
    offered = len(measured) / seconds
    return Metric("scheduled requests/s", offered, "requests/s", met=bool(kept >= 0.99))


def _offline(result: LoadResult) -> Metric:
    return Metric("samples/s", result.throughput_per_s, "samples/s")


def _server_arrivals(rate: float | None, _concurrency: int | None) -> Arrivals:
    if rate is None:
        raise ConfigError("the Server scenario needs a rate", "add --rate, the requests/s to try")
    return Poisson(rate)


SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "SingleStream": Scenario(
            "SingleStream",
            "one sample at a time, the next when the last was answered",
            lambda _rate, _concurrency: ClosedLoop(1),
            _single,
        ),
        "MultiStream": Scenario(
            "MultiStream",
            f"queries of {MULTI_STREAM_SAMPLES} samples, the next when the last was answered",
            lambda _rate, _concurrency: ClosedLoop(1, MULTI_STREAM_SAMPLES),
            _multi,
        ),
        "Server": Scenario(
            "Server",
            "Poisson arrivals; 99 % must keep the latency bound",
            _server_arrivals,
            _server,
            slo_ms=SERVER_SLO_MS,
        ),
        "Offline": Scenario(
            "Offline",
            "all samples are there from the start; as many in flight as --concurrency allows, for a server "
            "on a network refuses more",
            lambda _rate, concurrency: ClosedLoop(concurrency or 256),
            _offline,
            counted=OFFLINE_SAMPLES,
        ),
    }
)
