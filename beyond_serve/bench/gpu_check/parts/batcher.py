"""Throughput and latency through the real batcher, slots and instances, beside the engine alone."""

from __future__ import annotations

import numpy as np

from beyond_serve.bench.gpu_check.built import BuiltModel, built_models, opened
from beyond_serve.bench.gpu_check.closed_loop import filled_arena, run_loop
from beyond_serve.bench.gpu_check.findings import Recorder
from beyond_serve.bench.gpu_check.measure import Pace
from beyond_serve.bench.gpu_check.networks import ASKED
from beyond_serve.bench.gpu_check.opened import Opened
from beyond_serve.bench.gpu_check.plan import OUT_OF_TIME
from beyond_serve.bench.gpu_check.resident import ResidentProgram, random_rows
from beyond_serve.bench.gpu_check.site import Site
from beyond_serve.bench.gpu_check.through_batcher import (
    MOST_INSTANCES,
    THROUGHPUT_COLUMNS,
    Throughput,
    Windows,
    overhead_check,
    overhead_us,
    throughput,
    throughput_checks,
    throughput_rows,
    which_wins,
)
from beyond_serve.server.config import ModelConfig

BATCH = 128
_LEAST_S = 12.0


def run(site: Site, record: Recorder) -> None:
    rows: list[tuple[object, ...]] = []
    try:
        _each(site, record, rows)
    finally:
        # Also what was measured before its time was over.
        record.table("Through the batcher", THROUGHPUT_COLUMNS, rows, [f"closed loop, batches of {BATCH}"])


def _each(site: Site, record: Recorder, rows: list[tuple[object, ...]]) -> None:
    windows = Windows(2, 0.3) if site.quick else Windows(4, 0.5)
    pace = Pace(_LEAST_S)
    # What is asked is asked of ViT-Base: it goes first, and the others as far as time reaches.
    for model in sorted(built_models(site.work), key=lambda model: model.network != ASKED):
        before_s = site.left_s()
        if not pace.fits(before_s):
            record.skip(f"{model}: through the batcher", OUT_OF_TIME)
            continue
        with opened(site, model, BATCH) as found:
            rows += measure(model, found, record, windows)
        pace.took(before_s - site.left_s())


def measure(
    model: BuiltModel, found: Opened, record: Recorder, windows: Windows, batch: int = BATCH
) -> list[tuple[object, ...]]:
    """Rows for the table. What is asked of ViT-Base is no check for others, only told."""
    rates, (bare_us, whole_us) = run_loop(_measure(found, windows, batch))
    name = str(model)
    if model.network == ASKED:
        for check in throughput_checks(name, rates, default_instances()):
            record.check(check)
        record.check(overhead_check(name, bare_us, whole_us))
    record.note(which_wins(name, rates))
    record.note(
        f"{name}: batch 1 takes {whole_us:.0f} us from being enqueued to its answer, a bare replay of its "
        f"graph {bare_us:.0f} us (medians)"
    )
    return throughput_rows(name, rates)


async def _measure(
    found: Opened, windows: Windows, batch: int
) -> tuple[list[Throughput], tuple[float, float]]:
    rng = np.random.default_rng()
    runtime, network, engine = found.runtime, found.network, found.engine
    arena = filled_arena(engine, (MOST_INSTANCES + 1) * batch, rng)
    with ResidentProgram(runtime, network, random_rows(network, batch, rng)) as alone:
        rates = [
            await throughput(engine, arena, alone, instances, windows)
            for instances in range(1, MOST_INSTANCES + 1)
        ]
    with ResidentProgram(runtime, network, random_rows(network, 1, rng)) as alone:
        return rates, await overhead_us(engine, arena, alone, windows)


def default_instances() -> int:
    """The server's."""
    return int(ModelConfig("any", "any").instances)
