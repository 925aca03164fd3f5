"""The figures of a simulated run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from beyond_serve.bench.load.percentiles import latency_summary
from beyond_serve.bench.simulate.arrivals import Closed
from beyond_serve.bench.simulate.record import Outcome, Recorder
from beyond_serve.bench.simulate.scenario import Scenario

_ERRORS = {
    "refused: deadline cannot be met": Outcome.REFUSED,
    "queue full": Outcome.FULL,
    "dropped: deadline cannot be met any more": Outcome.DROPPED,
    "deadline passed": Outcome.EXPIRED,
    "failed": Outcome.FAILED,
}


@dataclass(frozen=True)
class SimResult:
    """One run. Figures count what arrives, ends and runs within the window, which leaves out the warm-up and
    what is answered after the last arrival.

    Attributes:
        record: the columns, warm-up included.
    """

    scenario: Scenario
    record: Recorder

    @cached_property
    def arrived_ns(self) -> NDArray[np.int64]:
        return np.frombuffer(self.record.arrived_ns, np.int64)

    @cached_property
    def ended_ns(self) -> NDArray[np.int64]:
        return np.frombuffer(self.record.ended_ns, np.int64)

    @cached_property
    def outcome(self) -> NDArray[np.uint8]:
        return np.frombuffer(self.record.outcome, np.uint8)

    @cached_property
    def window_ns(self) -> tuple[int, int]:
        """From the first arrival that counts to the last arrival."""
        arrived = self.arrived_ns
        return int(arrived[int(len(arrived) * self.scenario.warmup)]), int(arrived.max())

    @property
    def seconds(self) -> float:
        start_ns, end_ns = self.window_ns
        return max(end_ns - start_ns, 1) / 1e9

    @cached_property
    def measured(self) -> NDArray[np.bool_]:
        """The requests that arrived in the window."""
        counted: NDArray[np.bool_] = self.arrived_ns >= self.window_ns[0]
        return counted

    @cached_property
    def answered_ns(self) -> NDArray[np.int64]:
        """Latencies, from arrival, of those of them that were answered."""
        chosen = self.measured & (self.outcome == Outcome.ANSWERED)
        answered: NDArray[np.int64] = self._latencies_ns[chosen]
        return answered

    @property
    def throughput_per_s(self) -> float:
        return self._rate(np.inf)

    @property
    def goodput_per_s(self) -> float | None:
        """Answers within the SLO; None without one."""
        return None if self.scenario.slo_ms is None else self._rate(self.scenario.slo_ms * 1e6)

    def latency_ms(self, percentile: float) -> float:
        """Of answered requests, exactly; NaN if there are none."""
        return float(np.percentile(self.answered_ns, percentile)) / 1e6 if len(self.answered_ns) else np.nan

    @property
    def mean_ms(self) -> float:
        return float(self.answered_ns.mean()) / 1e6 if len(self.answered_ns) else np.nan

    @cached_property
    def batch_sizes(self) -> NDArray[np.int64]:
        """Of the batches that started in the window."""
        return np.frombuffer(self.record.batch_size, np.int64)[self._batches]

    @property
    def busy(self) -> float:
        """Share of the window in which an instance runs a batch, mean over the instances."""
        start_ns, end_ns = self.window_ns
        started = np.frombuffer(self.record.batch_started_ns, np.int64)
        ended = np.minimum(started + np.frombuffer(self.record.batch_took_ns, np.int64), end_ns)
        inside = np.maximum(ended - np.maximum(started, start_ns), 0)
        return float(inside.sum()) / 1e9 / self.seconds / self.scenario.model.instances

    def outcomes(self) -> dict[str, int]:
        """Requests that were not answered, by why."""
        counts = np.bincount(self.outcome[self.measured], minlength=len(Outcome))
        return {name: int(counts[kind]) for name, kind in _ERRORS.items() if counts[kind]}

    def queue_depth(self, points: int = 40) -> tuple[list[float], list[float]]:
        """Seconds from the first arrival, and how many waited then on average; at the ends of batches."""
        ended = np.frombuffer(self.record.batch_started_ns, np.int64) + np.frombuffer(
            self.record.batch_took_ns, np.int64
        )
        if len(ended) == 0:
            return [], []
        waiting = np.frombuffer(self.record.batch_waiting, np.int64)
        parts = min(points, len(ended))
        edges = np.linspace(0, len(ended), parts + 1).astype(int)
        counts = np.diff(edges)
        at = np.add.reduceat(ended, edges[:-1]) / counts / 1e9
        depth = np.add.reduceat(waiting, edges[:-1]) / counts
        return at.round(4).tolist(), depth.round(2).tolist()

    def summary(self) -> dict[str, object]:
        """The shape of `LoadResult.summary`; what no simulation has is 0 or None."""
        sizes, latency = self.batch_sizes, latency_summary(self.answered_ns)
        requests = int(np.count_nonzero(self.measured))
        return {
            "offered_per_s": requests / self.seconds,
            "requests": requests,
            "duration_s": self.seconds,
            "throughput_per_s": self.throughput_per_s,
            "goodput_per_s": self.goodput_per_s,
            "slo_ms": self.scenario.slo_ms,
            "errors": self.outcomes(),
            "error_rate": 1 - len(self.answered_ns) / requests if requests else 0.0,
            "latency_ms": latency,
            "latency_from_send_ms": latency,
            "lateness_ms": {"p50": 0.0, "p99": 0.0, "max": 0.0},
            "generator_cpu": 0.0,
            "generator_waiting": 0.0,
            "littles_law_error": self._littles_law_error(),
            "stages_ms": {},
            "bytes_sent": 0,
            "bytes_received": 0,
            "void": [],
            "interrupted": False,
            "batch_size_mean": float(sizes.mean()) if len(sizes) else None,
            "simulated": True,
        }

    @cached_property
    def _latencies_ns(self) -> NDArray[np.int64]:
        latencies: NDArray[np.int64] = self.ended_ns - self.arrived_ns + self.scenario.outside_ns
        return latencies

    @cached_property
    def _batches(self) -> NDArray[np.bool_]:
        started = np.frombuffer(self.record.batch_started_ns, np.int64)
        start_ns, end_ns = self.window_ns
        inside: NDArray[np.bool_] = (started >= start_ns) & (started <= end_ns)
        return inside

    def _rate(self, slowest_ns: float) -> float:
        start_ns, end_ns = self.window_ns
        inside = (self.ended_ns >= start_ns) & (self.ended_ns <= end_ns)
        inside &= self.outcome == Outcome.ANSWERED
        inside &= self._latencies_ns <= slowest_ns
        return float(np.count_nonzero(inside)) / self.seconds

    def _littles_law_error(self) -> float | None:
        arrivals = self.scenario.arrivals
        if not isinstance(arrivals, Closed):
            return None
        clients = self.throughput_per_s * (self.mean_ms / 1e3 + arrivals.think_ns / 1e9)
        return clients / arrivals.concurrency - 1
