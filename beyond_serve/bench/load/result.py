"""What a run found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from beyond_serve.bench.load.breakdown import stage_breakdown
from beyond_serve.bench.load.percentiles import histogram, latency_summary
from beyond_serve.bench.load.spec import LoadSpec
from beyond_serve.bench.load.table import RequestTable


@dataclass(frozen=True, slots=True)
class Window:
    """The measured time, nanoseconds from the run's start."""

    start_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        return max(0, self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True)
class LoadResult:
    """One run.

    Attributes:
        table: every request, warm-up included; `table.measured` tells them apart.
        error_names: of `table.error`.
        cpu: of each worker's sending thread in the measured time, share of one core.
        waiting: of each worker's sending thread: ready to run and without a core, share of the measured time.
        littles_law_error: mean latency times throughput over the concurrency, less 1; None in an open load,
            and where senders rested because nothing could be reached.
        void: why this run says nothing about the server; empty if it does.
        interrupted: by Ctrl-C or `stop`; what is there is right, and less than was asked for.
    """

    spec: LoadSpec
    table: RequestTable
    error_names: tuple[str, ...]
    window: Window
    cpu: tuple[float, ...]
    littles_law_error: float | None
    void: tuple[str, ...]
    interrupted: bool
    waiting: tuple[float, ...] = ()

    @cached_property
    def measured(self) -> RequestTable:
        """Requests that the figures count."""
        return self.table.where(self.table.measured)

    @cached_property
    def answered(self) -> RequestTable:
        """Those of them that succeeded: latencies are theirs alone, for a quick refusal is no fast answer."""
        return self.measured.where(self.measured.error == 0)

    @property
    def errors(self) -> dict[str, int]:
        """How many of each kind, the most frequent first."""
        counts = np.bincount(self.measured.error, minlength=len(self.error_names)).tolist()
        named = zip(self.error_names, counts, strict=True)
        return dict(sorted(((name, n) for name, n in named if name and n), key=lambda item: -item[1]))

    @property
    def throughput_per_s(self) -> float:
        """Successful answers that came in the measured time."""
        return self._rate(np.inf)

    @property
    def goodput_per_s(self) -> float | None:
        """Those of them within the SLO; None without one."""
        return None if self.spec.slo_ms is None else self._rate(self.spec.slo_ms * 1e6)

    def _rate(self, slowest_ns: float) -> float:
        table, window = self.table, self.window
        inside = (table.received_ns >= window.start_ns) & (table.received_ns <= window.end_ns)
        good = inside & (table.error == 0) & (table.latency_ns <= slowest_ns)
        return float(np.count_nonzero(good)) / window.seconds if window.seconds else 0.0

    @property
    def lateness_ms(self) -> dict[str, float | None]:
        """The generator's own. Of however few requests: it is judged by these figures."""
        lateness = self.measured.lateness_ns
        if len(lateness) == 0:
            return dict.fromkeys(("p50", "p99", "max"))
        p50, p99, most = (np.percentile(lateness, (50, 99, 100)) / 1e6).tolist()
        return {"p50": p50, "p99": p99, "max": most}

    def encoded_histogram(self) -> str:
        """Latencies from the schedule, nanoseconds, as HdrHistogram's tools read and merge them."""
        encoded = histogram(self.answered.latency_ns).encode()
        return encoded.decode() if isinstance(encoded, bytes) else str(encoded)

    def summary(self) -> dict[str, object]:
        """What every experiment keeps of a run: JSON-able. Times in the names' units, None for n/a."""
        measured, answered = self.measured, self.answered
        batches = answered.batch_size[~np.isnan(answered.batch_size)]
        # Requests of one batch each carry its size: the mean over batches weighs each by its inverse.
        batch_mean = len(batches) / float((1 / batches).sum()) if len(batches) and batches.min() > 0 else None
        seconds = self.window.seconds
        return {
            "offered_per_s": len(measured) / seconds if seconds else 0.0,
            "requests": len(measured),
            "duration_s": seconds,
            "throughput_per_s": self.throughput_per_s,
            "goodput_per_s": self.goodput_per_s,
            "slo_ms": self.spec.slo_ms,
            "errors": self.errors,
            "error_rate": 1 - len(answered) / len(measured) if len(measured) else 0.0,
            "latency_ms": latency_summary(answered.latency_ns),
            "latency_from_send_ms": latency_summary(answered.latency_from_send_ns),
            "lateness_ms": self.lateness_ms,
            "generator_cpu": max(self.cpu, default=0.0),
            "generator_waiting": max(self.waiting, default=0.0),
            "littles_law_error": self.littles_law_error,
            "stages_ms": stage_breakdown(answered),
            "bytes_sent": int(measured.bytes_out.sum()),
            "bytes_received": int(measured.bytes_in.sum()),
            "void": list(self.void),
            "interrupted": self.interrupted,
            "batch_size_mean": batch_mean,
            "simulated": bool(answered.simulated.any()),
        }
