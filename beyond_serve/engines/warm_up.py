"""First runs before the first request: kernels are made, buffers allocated."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

# Enough for every size of a small model, and for a few of a large one, at a start that stays short.
BUDGET_NS = 500_000_000


def warm_sizes(max_batch: int, fixed: int | None) -> Iterator[int]:
    """1, 2, 4 … and `max_batch`; one size where the batch is fixed."""
    if fixed is not None:
        yield fixed
        return
    size = 1
    while size < max_batch:
        yield size
        size *= 2
    yield max_batch


def warm_up(
    run: Callable[[int], object],
    max_batch: int,
    fixed: int | None,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> None:
    """Call `run(size)` for growing sizes until `BUDGET_NS` is spent; the last may overrun it."""
    until = clock() + BUDGET_NS
    for size in warm_sizes(max_batch, fixed):
        run(size)
        if clock() >= until:
            return
