"""Latencies as HdrHistogram counts them: three significant digits from a nanosecond to an hour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9, "p99.99": 99.99}
SAMPLES_BEYOND = 5
"""A percentile is given if at least so many samples lie beyond it: p99 needs 500 requests, p99.99 50,000.
Fewer, and it is the maximum by another name. The number is our choice."""

_HIGHEST_NS, _DIGITS = 3_600_000_000_000, 3
_UNIT_BITS = 11
"""Values of up to so many bits are counted exactly; of longer ones, these leading bits: 3 digits."""


def histogram(values_ns: NDArray[np.int64]) -> Any:
    """An `hdrh.histogram.HdrHistogram` of the values: it can be merged, encoded, read by other tools."""
    from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

    counted = HdrHistogram(1, _HIGHEST_NS, _DIGITS)
    clipped = np.clip(values_ns, 0, _HIGHEST_NS)
    # What falls into one bucket is recorded once, with its count: Python sees thousands, not millions.
    _, exponents = np.frexp(clipped.astype(np.float64))
    shifts = np.maximum(exponents - _UNIT_BITS, 0)
    buckets, counts = np.unique(clipped >> shifts << shifts, return_counts=True)
    for value, count in zip(buckets.tolist(), counts.tolist(), strict=True):
        counted.record_value(value, count)
    return counted


def latency_summary(values_ns: NDArray[np.int64]) -> dict[str, float | None]:
    """Milliseconds: mean, percentiles, maximum; None where there are too few values."""
    if len(values_ns) == 0:
        return {"mean": None, **dict.fromkeys(PERCENTILES), "max": None}
    counted = histogram(values_ns)
    return {
        "mean": float(values_ns.mean()) / 1e6,
        **{
            name: counted.get_value_at_percentile(percentile) / 1e6
            if has_enough(len(values_ns), percentile)
            else None
            for name, percentile in PERCENTILES.items()
        },
        "max": float(values_ns.max()) / 1e6,
    }


def has_enough(count: int, percentile: float) -> bool:
    """Whether so many samples say anything about a percentile. Rounded, for 0.1 % of 5000 shall be 5."""
    return round(count * (100 - percentile) / 100, 6) >= SAMPLES_BEYOND
