"""The batch sizes that a context prepares for; a batch runs as the next larger one. Pure."""

from __future__ import annotations

import bisect
from collections.abc import Sequence


def batch_buckets(max_batch: int, fixed: int | None = None) -> tuple[int, ...]:
    """Sizes ascending to `max_batch`: all up to 4, then four to each doubling, so that no batch computes
    more than a quarter of its rows for nothing, with graphs for a few dozen sizes at most.

    >>> batch_buckets(32)
    (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32)
    """
    if fixed is not None:
        return (fixed,)
    sizes: list[int] = []
    size, step = 1, 1
    while size < max_batch:
        sizes.append(size)
        if size >= 8 * step:
            step *= 2
        size += step
    return (*sizes, max_batch)


def bucket_for(rows: int, buckets: Sequence[int]) -> int:
    """The smallest of the ascending `buckets` that holds `rows`, which is at most the last."""
    return buckets[bisect.bisect_left(buckets, rows)]
