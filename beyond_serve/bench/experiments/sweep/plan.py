"""What a sweep measures next, for how long, and when it has seen enough. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from beyond_serve.bench.experiments.pace import Pace

FLAT = 1.03
"""A doubling that brings less than 3 % more throughput brings none: an invented number, above the noise of a
machine that does nothing else."""

_MEMORY_SHARE = 0.25


FULL = Pace(2.0, 8.0, 5.0)
QUICK = Pace(0.5, 1.8, 4.0)


def concurrencies(highest: int, step: int = 2) -> list[int]:
    """1, 2, 4, … up to `highest`, which is among them."""
    found = []
    concurrency = 1
    while concurrency < highest:
        found.append(concurrency)
        concurrency *= step
    return [*found, highest]


def affordable(highest: int, image_bytes: int, memory_bytes: int) -> int:
    """The highest concurrency whose images in flight take no more than a quarter of the memory.

    An image lies in the server as often as it is in flight.
    """
    return max(1, min(highest, int(_MEMORY_SHARE * memory_bytes) // max(image_bytes, 1)))


def enough(rates: Sequence[float], latest_mean_ms: float | None, bound_ms: float) -> bool:
    """Whether the two latest steps brought no throughput and the latency is beyond `bound_ms`.

    Args:
        rates: throughput of each concurrency so far, ascending concurrencies.
    """
    if len(rates) < 3 or latest_mean_ms is None or latest_mean_ms <= bound_ms:
        return False
    return all(rates[end] < FLAT * max(rates[:end]) for end in (len(rates) - 1, len(rates) - 2))


def knee(rates: Sequence[tuple[int, float]], share: float = 0.95) -> int | None:
    """The lowest concurrency that reaches `share` of the best throughput; None without points."""
    best = max((rate for _, rate in rates), default=0.0)
    return next(
        (concurrency for concurrency, rate in sorted(rates) if best > 0 and rate >= share * best), None
    )
