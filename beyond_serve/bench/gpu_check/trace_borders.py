"""Are the traces of batches whole: every border stamped, none before the one that it follows. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise

from beyond_serve.bench.gpu_check.closed_loop import BatchMarks

_STAGES = ("waiting for the thread", "copy in", "infer", "copy out", "rank", "back to the loop")


def border_fault(batches: Sequence[BatchMarks]) -> str:
    """The first batch whose borders are not all there or not in order; empty if there is none."""
    for number, batch in enumerate(batches):
        marks = batch[1:]
        if not all(marks):
            return f"batch {number} lacks {BatchMarks._fields[1 + marks.index(0)]}"
        for name, (before, after) in zip(BatchMarks._fields[2:], pairwise(marks), strict=True):
            if after < before:
                return f"batch {number}: {name} lies {before - after} ns before what it follows"
    return ""


def sum_fault(batches: Sequence[BatchMarks]) -> str:
    """The first batch whose spans do not add up to the host's own time for it; empty if there is none."""
    for number, batch in enumerate(batches):
        spans = sum(after - before for before, after in pairwise(batch[1:]))
        if spans != batch.ended - batch.dispatched:
            return f"batch {number}: {spans} ns in spans, {batch.ended - batch.dispatched} ns by the host"
    return ""


def span_rows(batches: Sequence[BatchMarks]) -> list[tuple[str, float, float, float]]:
    """(stage, median, 99th percentile, largest) in microseconds; none without batches."""
    rows = []
    for column, name in enumerate(_STAGES if batches else (), 1):
        spans = sorted((batch[column + 1] - batch[column]) / 1000 for batch in batches)
        rows.append((name, statistics.median(spans), spans[len(spans) * 99 // 100], spans[-1]))
    return rows


def busy_share(batches: Sequence[BatchMarks]) -> float:
    """Of the time from the first batch's start to the last's end, how much some batch was inferring."""
    inferring = sorted((batch.copied_in, batch.inferred) for batch in batches)
    if not inferring:
        return float("nan")
    total, reached = 0, 0
    for start, end in inferring:
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total / max(1, max(b.copied_out for b in batches) - min(b.started for b in batches))
