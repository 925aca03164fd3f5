"""What the server counts of itself, read from its `/metrics`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

_RELEASES = "beyond_batches_total"
_FAILURES = "beyond_failures_total"
_BATCHED = "beyond_batch_size_sum"
_LAG_SUM, _LAG_COUNT = "beyond_event_loop_lag_seconds_sum", "beyond_event_loop_lag_seconds_count"


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters of one model at a time, or between two of them.

    Attributes:
        batches: by why they left: full, delay, idle, deadline.
        images: that were in them.
        failures: by reason.
        lag_s, lags: how late the event loop ran its timers, in all, and how many.
    """

    batches: Mapping[str, float] = field(default_factory=dict)
    images: float = 0.0
    failures: Mapping[str, float] = field(default_factory=dict)
    lag_s: float = 0.0
    lags: float = 0.0

    def since(self, before: Counters) -> Counters:
        return Counters(
            _less(self.batches, before.batches),
            self.images - before.images,
            _less(self.failures, before.failures),
            self.lag_s - before.lag_s,
            self.lags - before.lags,
        )

    def describe(self) -> dict[str, object]:
        """JSON-able; the shares of batches by release, the mean batch, failures, and the loop's mean lag."""
        batches = sum(self.batches.values())
        return {
            "batches": batches,
            "batch_size_mean": self.images / batches if batches else None,
            "releases": {reason: count / batches for reason, count in self.batches.items() if count},
            "failures": {reason: count for reason, count in self.failures.items() if count},
            "loop_lag_ms": 1000 * self.lag_s / self.lags if self.lags else None,
        }


def read_counters(text: str, model: str) -> Counters:
    """The counters of `model` in Prometheus' text."""
    releases: dict[str, float] = {}
    failures: dict[str, float] = {}
    single = dict.fromkeys((_BATCHED, _LAG_SUM, _LAG_COUNT), 0.0)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("model", model) != model:
                continue
            if sample.name == _RELEASES:
                releases[sample.labels["release"]] = sample.value
            elif sample.name == _FAILURES:
                failures[sample.labels["reason"]] = sample.value
            elif sample.name in single:
                single[sample.name] = sample.value
    return Counters(releases, single[_BATCHED], failures, single[_LAG_SUM], single[_LAG_COUNT])


def _less(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0.0) for name, value in after.items()}
