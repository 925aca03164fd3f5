"""Once it is warm: nothing is allocated, and every batch's trace is whole."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from beyond_serve.bench.gpu_check.built import built_models, opened
from beyond_serve.bench.gpu_check.closed_loop import BatchMarks, ClosedLoop, filled_arena, run_loop
from beyond_serve.bench.gpu_check.figures import at_least, holds
from beyond_serve.bench.gpu_check.findings import Recorder
from beyond_serve.bench.gpu_check.opened import Opened
from beyond_serve.bench.gpu_check.site import Site
from beyond_serve.bench.gpu_check.trace_borders import border_fault, span_rows, sum_fault

BATCH = 32
BATCHES = 1000
INSTANCES = 2
_ROUND_S = 0.25


class Allocations(NamedTuple):
    """What was allocated by then. free_bytes: of the device. by_torch: calls of cudaMalloc and of its own
    allocator; empty without torch."""

    free_bytes: int
    by_torch: tuple[int, ...]


def run(site: Site, record: Recorder) -> None:
    model = built_models(site.work)[0]
    with opened(site, model, BATCH) as found:
        check_steady(str(model), found, record, batches=BATCHES, left_s=site.left_s)


def check_steady(
    what: str,
    found: Opened,
    record: Recorder,
    *,
    batches: int,
    left_s: Callable[[], float],
    batch: int = BATCH,
) -> None:
    """At least `batches` batches of changing sizes, by two instances, while there is time."""
    before, after, marks = run_loop(_run(found, batches, batch, left_s))
    record.check(at_least(f"{what}: batches run", batches, len(marks)))
    record.check(holds(f"{what}: allocations while they ran", "none", allocation_fault(before, after)))
    record.check(holds(f"{what}: borders of every batch", "there and in order", border_fault(marks)))
    record.check(holds(f"{what}: spans of every batch", "the host's time for it", sum_fault(marks)))
    record.facts({"allocations before": before._asdict(), "allocations after": after._asdict()})
    columns = ("stage", "median us", "99th percentile us", "largest us")
    sizes = sorted({mark.size for mark in marks})
    note = f"{len(marks)} batches of {sizes[0]} to {sizes[-1]} rows, {INSTANCES} instances" if sizes else ""
    record.table("Where a batch's time goes", columns, span_rows(marks), [note])


async def _run(
    found: Opened, batches: int, batch: int, left_s: Callable[[], float]
) -> tuple[Allocations, Allocations, Sequence[BatchMarks]]:
    arena = filled_arena(found.engine, (INSTANCES + 1) * batch, np.random.default_rng())
    marks: list[BatchMarks] = []
    async with ClosedLoop(found.engine, arena, instances=INSTANCES, max_batch=batch) as loop:
        sizes = (1, batch // 3 or 1, batch, (INSTANCES + 1) * batch)
        for in_flight in sizes:
            await loop.run(_ROUND_S / 5, in_flight)
        before = _allocations(found)
        round_number = 0
        while len(marks) < batches and left_s() > 2 * _ROUND_S:
            run = await loop.run(_ROUND_S, sizes[round_number % len(sizes)])
            marks += run.batches
            round_number += 1
        return before, _allocations(found), marks


def allocation_fault(before: Allocations, after: Allocations) -> str:
    """What was allocated between the two; empty if nothing was."""
    found = []
    if after.free_bytes != before.free_bytes:
        found.append(f"{before.free_bytes - after.free_bytes:,} bytes less are free on the device")
    if after.by_torch != before.by_torch:
        found.append(f"torch's counts of allocations went from {before.by_torch} to {after.by_torch}")
    return "; ".join(found)


def _allocations(found: Opened) -> Allocations:
    free, _ = found.runtime.memory()
    if "torch" not in sys.modules:
        return Allocations(free, ())
    stats = importlib.import_module("torch").cuda.memory_stats(found.runtime.facts.index)
    counted = (int(stats.get(name, 0)) for name in ("num_device_alloc", "allocation.all.allocated"))
    return Allocations(free, tuple(counted))
