"""How a run stands, read from the workers' rows without asking them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from beyond_serve.bench.load.rows import Rows
from beyond_serve.bench.load.spec import LoadProgress, LoadSpec

_SAMPLE = 20_000
"""Rows looked at for the percentiles: spread evenly over all, so that looking costs the same all along."""


class ProgressReader:
    """State: how many of each worker's rows are known to be in use."""

    def __init__(self, spec: LoadSpec, tables: Sequence[Rows], start_ns: int) -> None:
        self._spec = spec
        self._tables = tables
        self._start_ns = start_ns
        self._used = [0] * len(tables)

    def read(self, now_ns: int) -> LoadProgress:
        offered = sent = done = errors = 0
        latencies = []
        for index, rows in enumerate(self._tables):
            used = self._used[index] = rows.used(self._used[index])
            scheduled, received = rows.column("scheduled", end=used), rows.column("received", end=used)
            offered += int(np.count_nonzero(scheduled <= now_ns))
            sent += int(np.count_nonzero(rows.column("sent", end=used)))
            done += int(np.count_nonzero(received))
            errors += int(np.count_nonzero(rows.column("error", end=used)))
            every = slice(None, None, max(1, used * len(self._tables) // _SAMPLE))
            answered = received[every] > 0
            latencies.append((received[every] - scheduled[every])[answered])
        sample = np.concatenate(latencies) / 1e6
        p50, p99 = np.percentile(sample, (50, 99)).tolist() if len(sample) else (None, None)
        elapsed_s = max(0.0, (now_ns - self._start_ns) / 1e9)
        duration_s = self._spec.duration_s
        return LoadProgress(
            elapsed_s=elapsed_s,
            total_s=None if duration_s is None else self._spec.warmup_s + duration_s,
            warming_up=elapsed_s < self._spec.warmup_s,
            offered=offered,
            done=done,
            in_flight=max(0, sent - done),
            errors=errors,
            p50_ms=p50,
            p99_ms=p99,
        )
