"""Points and runs as experiments keep them, made up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from beyond_serve.batching import STAGES
from beyond_serve.bench.load.arrivals import Arrivals, ClosedLoop
from beyond_serve.bench.load.breakdown import PARTS
from beyond_serve.bench.load.images import MixImage
from beyond_serve.bench.load.result import LoadResult, Window
from beyond_serve.bench.load.spec import LoadSpec, Target
from beyond_serve.bench.load.table import RequestTable
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.runs.meta import RunMeta

_LATENCIES = ("mean", "p50", "p90", "p95", "p99", "p99.9", "p99.99", "max")


def load(
    rate: float = 100.0,
    mean_ms: float = 10.0,
    stages_ms: Mapping[str, float] | None = None,
    void: tuple[str, ...] = (),
    **other: Any,
) -> dict[str, Any]:
    """A load's summary; without `stages_ms`, of a server that gave no traces."""
    latency = dict.fromkeys(_LATENCIES, mean_ms)
    traced = {} if stages_ms is None else {"mean": dict.fromkeys(PARTS, 0.0) | dict(stages_ms)}
    return {
        "offered_per_s": rate,
        "requests": 1000,
        "duration_s": 10.0,
        "throughput_per_s": rate,
        "errors": {},
        "error_rate": 0.0,
        "latency_ms": latency,
        "latency_from_send_ms": latency,
        "stages_ms": traced,
        "bytes_sent": 121_000_000,
        "void": list(void),
        "interrupted": False,
        "batch_size_mean": 4.0,
        "simulated": False,
    } | other


def run_of(*points: dict[str, Any]) -> RunFolder:
    """A run with these points, of which nothing lies on a disk."""
    meta = RunMeta("test", "beyond-bench test", {}, 0, {}, {}, "2026-01-01T00:00:00+00:00")
    return RunFolder(Path("nowhere"), meta, list(points))


def table(
    stages_us: list[dict[str, float]],
    total_us: list[float],
    batch_size: float = 1.0,
    traced: tuple[bool, ...] = (),
) -> RequestTable:
    """Requests that were answered, a millisecond slower for the client than their `total_us`."""
    count = len(total_us)
    zeros = np.zeros(count, np.int64)
    spans = np.array([[spans.get(name, 0.0) for name in STAGES] for spans in stages_us], np.float32)
    server = np.array(total_us, np.float32)
    has_trace = np.array(traced or (True,) * count)
    server[~has_trace] = np.nan
    return RequestTable(
        scheduled_ns=zeros,
        sent_ns=zeros,
        received_ns=(np.array(total_us) * 1e3 + 1e6).astype(np.int64),
        status=np.full(count, 200, np.int16),
        error=np.zeros(count, np.int16),
        bytes_in=zeros,
        bytes_out=zeros,
        image=np.zeros(count, np.uint16),
        worker=np.zeros(count, np.uint8),
        measured=np.ones(count, np.bool_),
        server_us=server,
        stages_us=spans,
        batch_size=np.full(count, batch_size, np.float32),
        simulated=np.zeros(count, np.bool_),
    )


def result(rows: RequestTable, seconds: float = 1.0, arrivals: Arrivals | None = None) -> LoadResult:
    spec = LoadSpec(
        Target("http://127.0.0.1:1"), arrivals or ClosedLoop(1), (MixImage("medium", b"jpeg", 1.0),), seconds
    )
    window = Window(0, round(seconds * 1e9))
    return LoadResult(spec, rows, ("",), window, (0.1,), 0.0, (), False)
