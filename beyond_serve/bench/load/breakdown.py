"""Client and server joined, request by request: where the latency went.

latency = late + the server's stages + residual + network: exactly, for `network` is what is left of the
time between sending and receiving when the server's own total is taken away. It holds both ways on the
wire, the kernels, and what either side does before its first and after its last stamp.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import STAGES
from beyond_serve.bench.load.percentiles import SAMPLES_BEYOND
from beyond_serve.bench.load.table import RequestTable

PARTS = ("late", *STAGES, "residual", "network")
BANDS = {"p50": (45.0, 55.0), "p95": (94.0, 96.0), "p99": (98.5, 99.5)}
"""Requests "around" a percentile: those whose latency has a rank between these."""

CLOCK_ERROR_US = 50.0
"""More than stamps taken one after the other can disagree."""


def parts_us(table: RequestTable) -> NDArray[np.float64]:
    """float64 [n, len(PARTS)], microseconds; NaN in rows without a trace."""
    stages = table.stages_us.astype(np.float64)
    server = table.server_us.astype(np.float64)
    late = table.lateness_ns / 1e3
    network = table.latency_from_send_ns / 1e3 - server
    residual = server - stages.sum(axis=1)
    # What 32 bits round away is no time.
    residual[np.abs(residual) < 1e-6 * server] = 0.0
    return np.column_stack((late, stages, residual, network))


def stage_breakdown(table: RequestTable) -> dict[str, dict[str, float]]:
    """Milliseconds of each part: `mean` over all, and over the requests around p50, p95 and p99.

    Args:
        table: requests that were answered. Those without a trace are left out; with none, the answer is
            empty, and so it is for a percentile with too few requests around it.
    """
    traced = table.where(~np.isnan(table.server_us))
    if len(traced) == 0:
        return {}
    parts = parts_us(traced)[np.argsort(traced.latency_ns, kind="stable")]
    found = {"mean": _means(parts)}
    for name, (low, high) in BANDS.items():
        first, last = (round(len(parts) * bound / 100) for bound in (low, high))
        if last - first >= SAMPLES_BEYOND:
            found[name] = _means(parts[first:last])
    return found


def _means(parts: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(PARTS, (parts.mean(axis=0) / 1e3).tolist(), strict=True))


def negative_networks(table: RequestTable) -> int:
    """Requests whose server claims to have worked longer than the client waited."""
    with np.errstate(invalid="ignore"):
        return int(np.count_nonzero(parts_us(table)[:, -1] < -CLOCK_ERROR_US))
