"""Run one batch on a context and keep the outcome."""

from __future__ import annotations

import time

from beyond_serve.batching import Batch, BatchTiming
from beyond_serve.engines.classify import BatchOutputs, classify
from beyond_serve.engines.protocol import BatchRows, EngineInfo, ExecutionContext
from beyond_serve.engines.slots import SlotArena, rows_of
from beyond_serve.errors import BeyondError, EngineError, InstanceLostError

Outcome = tuple[BatchOutputs | None, BeyondError | None]


def run_rows(
    context: ExecutionContext, info: EngineInfo, rows: BatchRows, timing: BatchTiming, top_k: int
) -> Outcome:
    """Run `rows` and return their outputs or what failed; fills `timing`. Never raises an Exception."""
    timing.started = time.monotonic_ns()
    outputs: BatchOutputs | None = None
    error: BeyondError | None = None
    try:
        outputs = classify(context.infer(rows, timing), info, top_k)
    except BeyondError as raised:
        error = raised
    except Exception as raised:  # the seam: an engine's own errors become ours here, once
        error = EngineError(f"the engine failed: {type(raised).__name__}: {raised}")
    timing.postprocessed = time.monotonic_ns()
    return outputs, error


def run_batch(context: ExecutionContext, info: EngineInfo, batch: Batch, arena: SlotArena | None) -> None:
    """Fill `batch.outputs` or `batch.error`, and `batch.timing`.

    Raises:
        InstanceLostError: the context is dead; `batch.error` says so too.
    """
    rows = rows_of(batch.requests, batch.key, arena)
    batch.outputs, batch.error = run_rows(context, info, rows, batch.timing, batch.top_k)
    if batch.outputs is not None:
        batch.item_errors = batch.outputs.row_errors
    if isinstance(batch.error, InstanceLostError):
        raise batch.error
