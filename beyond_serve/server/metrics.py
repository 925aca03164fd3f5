"""Counters and histograms of every request, in Prometheus' words.

Recording must cost next to nothing: a finished request leaves its trace in a list; NumPy folds
hundreds of them at once into the histograms, when the list is long or when somebody reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from beyond_serve.batching import STAGES, Batch, Trace
from beyond_serve.server.loop_lag import LoopLag
from beyond_serve.server.trace_columns import borders_of

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily

# Seconds. From 50 us, where a stage of a small image lies, to 10 s; about four steps per decade.
BUCKETS_S = (
    *(0.00005, 0.0001, 0.00025, 0.0005),
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_EDGES_NS = np.array([round(edge * 1e9) for edge in BUCKETS_S], np.int64)
_FOLD_AT = 512
_ROWS = len(STAGES) + 1  # the stages, and the total


class StageHistograms:
    """One histogram per stage and one of the total. State: counts, sums and what is not folded yet."""

    def __init__(self) -> None:
        self._counts = np.zeros((_ROWS, len(BUCKETS_S) + 1), np.int64)
        self._sums_ns = np.zeros(_ROWS, np.int64)
        self._pending: list[Trace] = []
        self.record = self._pending.append
        """Take a finished trace. No more than an append, for it is paid for every request."""

    def fold_if_many(self) -> None:
        """Call now and then, so that what was recorded does not pile up."""
        if len(self._pending) >= _FOLD_AT:
            self._fold()

    def read(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts [stages + 1, buckets + 1], not cumulative, and sums [stages + 1] in nanoseconds."""
        self._fold()
        return self._counts, self._sums_ns

    def _fold(self) -> None:
        if not self._pending:
            return
        borders = borders_of(self._pending)
        # Cleared and not replaced: `record` is its append.
        self._pending.clear()
        spans = np.empty((len(borders), _ROWS), np.int64)
        np.subtract(borders[:, 1:], borders[:, :-1], out=spans[:, :-1])
        np.subtract(borders[:, -1], borders[:, 0], out=spans[:, -1])
        buckets = np.searchsorted(_EDGES_NS, spans)
        for row in range(_ROWS):
            self._counts[row] += np.bincount(buckets[:, row], minlength=len(BUCKETS_S) + 1)
        self._sums_ns += spans.sum(axis=0)


class ModelGauges(Protocol):
    """What is read off a model when somebody asks."""

    @property
    def waiting(self) -> int: ...

    @property
    def capacity(self) -> int: ...

    @property
    def instances_alive(self) -> int: ...

    @property
    def slots_free(self) -> int: ...

    @property
    def queued_bytes(self) -> int: ...

    @property
    def rung(self) -> int: ...

    @property
    def served_by_rung(self) -> Mapping[str, int]: ...


class ModelMetrics:
    """What is counted for one model. Owned by the event loop.

    Attributes:
        devices: each instance's device, by the instance's name.
    """

    def __init__(self, name: str, gauges: ModelGauges) -> None:
        self.name = name
        self.gauges = gauges
        self.stages = StageHistograms()
        self.succeeded = 0
        self.failures: Counter[str] = Counter()
        self.cancelled: Counter[str] = Counter()
        self.batch_sizes: Counter[int] = Counter()
        self.releases: Counter[str] = Counter()
        self.devices: Mapping[str, str] = {}
        self.instance_batches: Counter[str] = Counter()
        self.instance_images: Counter[str] = Counter()

    def record_batch(self, batch: Batch) -> None:
        self.stages.fold_if_many()
        self.instance_batches[batch.timing.instance] += 1
        self.instance_images[batch.timing.instance] += len(batch)
        self.batch_sizes[len(batch)] += 1
        self.releases[batch.release] += 1


class Metrics:
    """The collector behind `GET /metrics`. State: the served models' metrics."""

    def __init__(self, lag: LoopLag) -> None:
        self.models: dict[str, ModelMetrics] = {}
        self._lag = lag

    def collect(self) -> Iterator[Family]:
        yield from self._stages()
        yield from self._counters()
        yield from self._batches()
        yield from self._instances()
        yield from self._gauges()
        lag = HistogramMetricFamily("beyond_event_loop_lag_seconds", "How late the event loop runs timers.")
        lag.add_metric([], *self._lag.histogram.read())
        yield lag

    def _stages(self) -> Iterator[Family]:
        stages = HistogramMetricFamily(
            "beyond_stage_seconds", "Time of answered images in each stage.", labels=["model", "stage"]
        )
        totals = HistogramMetricFamily(
            "beyond_request_seconds", "First byte in to last byte out, of answered images.", labels=["model"]
        )
        for model in self.models.values():
            counts, sums_ns = model.stages.read()
            for row, stage in enumerate(STAGES):
                stages.add_metric([model.name, stage], _cumulative(counts[row]), sums_ns[row] / 1e9)
            totals.add_metric([model.name], _cumulative(counts[-1]), sums_ns[-1] / 1e9)
        yield stages
        yield totals

    def _counters(self) -> Iterator[Family]:
        answered = CounterMetricFamily("beyond_images", "Images answered with a result.", labels=["model"])
        failed = CounterMetricFamily(
            "beyond_failures", "Images answered with an error.", labels=["model", "reason"]
        )
        cancelled = CounterMetricFamily(
            "beyond_cancelled",
            "Images whose client left, by how far they had come.",
            labels=["model", "stage"],
        )
        rungs = CounterMetricFamily(
            "beyond_rung_images", "Images by the ladder's plan that took them.", labels=["model", "rung"]
        )
        for model in self.models.values():
            for rung, count in model.gauges.served_by_rung.items():
                rungs.add_metric([model.name, rung], count)
            answered.add_metric([model.name], model.succeeded)
            for reason, count in model.failures.items():
                failed.add_metric([model.name, reason], count)
            for stage, count in model.cancelled.items():
                cancelled.add_metric([model.name, stage], count)
        yield from (answered, failed, cancelled, rungs)

    def _batches(self) -> Iterator[Family]:
        sizes = HistogramMetricFamily("beyond_batch_size", "Images per batch.", labels=["model"])
        releases = CounterMetricFamily(
            "beyond_batches", "Batches by why they left.", labels=["model", "release"]
        )
        for model in self.models.values():
            if model.batch_sizes:
                sizes.add_metric([model.name], *_size_buckets(model.batch_sizes))
            for release, count in model.releases.items():
                releases.add_metric([model.name, release], count)
        yield from (sizes, releases)

    def _instances(self) -> Iterator[Family]:
        labels = ["model", "instance", "device"]
        batches = CounterMetricFamily(
            "beyond_instance_batches", "Batches that an instance ran, failed ones too.", labels=labels
        )
        images = CounterMetricFamily("beyond_instance_images", "Images in these batches.", labels=labels)
        for model in self.models.values():
            for name, device in model.devices.items():
                batches.add_metric([model.name, name, device], model.instance_batches[name])
                images.add_metric([model.name, name, device], model.instance_images[name])
        yield from (batches, images)

    def _gauges(self) -> Iterator[Family]:
        gauges = {
            "waiting": GaugeMetricFamily(
                "beyond_queue_length", "Images admitted, not running.", labels=["model"]
            ),
            "capacity": GaugeMetricFamily(
                "beyond_queue_capacity", "Most images that may wait.", labels=["model"]
            ),
            "queued_bytes": GaugeMetricFamily(
                "beyond_queue_bytes", "Encoded bytes and tensors that wait.", labels=["model"]
            ),
            "rung": GaugeMetricFamily(
                "beyond_ladder_rung", "The ladder's plan for the next image; 0 is the best.", labels=["model"]
            ),
            "instances_alive": GaugeMetricFamily(
                "beyond_instances_alive", "Instances that take batches.", labels=["model"]
            ),
            "slots_free": GaugeMetricFamily(
                "beyond_slots_free", "Free rows of batch input.", labels=["model"]
            ),
        }
        for model in self.models.values():
            for attribute, family in gauges.items():
                family.add_metric([model.name], getattr(model.gauges, attribute))
        yield from gauges.values()


def _cumulative(counts: NDArray[np.int64]) -> list[tuple[str, float]]:
    bounds = [str(edge) for edge in BUCKETS_S] + ["+Inf"]
    return list(zip(bounds, np.cumsum(counts).tolist(), strict=True))


def _size_buckets(sizes: Counter[int]) -> tuple[list[tuple[str, float]], float]:
    bounds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    buckets: list[tuple[str, float]] = [
        (str(bound), sum(count for size, count in sizes.items() if size <= bound)) for bound in bounds
    ]
    buckets.append(("+Inf", sizes.total()))
    return buckets, float(sum(size * count for size, count in sizes.items()))
