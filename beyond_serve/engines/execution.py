"""Run one batch on a context and keep the outcome."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from beyond_serve.batching import Batch, BatchTiming
from beyond_serve.engines.classify import BatchOutputs, classify, ranked
from beyond_serve.engines.protocol import BatchRows, EngineInfo, ExecutionContext, RankingContext
from beyond_serve.engines.slots import SlotArena, rows_of
from beyond_serve.errors import BeyondError, EngineError, InstanceLostError, InvalidRequestError

Outcome = tuple[BatchOutputs | None, BeyondError | None]


def run_rows(
    context: ExecutionContext,
    info: EngineInfo,
    rows: BatchRows,
    timing: BatchTiming,
    top_k: int,
    *,
    tensors: bool = True,
) -> Outcome:
    """Run `rows` and return their outputs or what failed; fills `timing`. Never raises an Exception.

    Args:
        tensors: the model's own outputs are wanted too; without, a context that can rank classes does.
    """
    timing.started = time.monotonic_ns()
    outputs: BatchOutputs | None = None
    error: BeyondError | None = None
    try:
        if not tensors and 0 < top_k <= info.ranks and isinstance(context, RankingContext):
            outputs = ranked(*context.rank(rows, timing, top_k), info)
        else:
            outputs = classify(context.infer(rows, timing), info, top_k)
        if isinstance(rows.key, tuple) and (bad := nan_rows(rows)):
            outputs = replace(outputs, row_errors={**outputs.row_errors, **bad})
    except BeyondError as raised:
        error = raised
    except Exception as raised:  # the seam: an engine's own errors become ours here, once
        error = EngineError(f"the engine failed: {type(raised).__name__}: {raised}")
    timing.postprocessed = time.monotonic_ns()
    return outputs, error


def nan_rows(rows: BatchRows) -> dict[int, BeyondError]:
    """The rows of a client's tensors that hold NaN. Most networks' ReLU would turn it into an answer.

    A sum is NaN if any value is, and costs a fraction of looking at each; infinities of both signs make
    one as well, so a NaN sum is looked at twice.
    """
    bad: dict[int, BeyondError] = {}
    for index, row in enumerate(rows.rows()):
        if isinstance(row, np.ndarray) and row.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                suspicious = np.isnan(row.sum(dtype=np.float32))
            if suspicious and np.isnan(row).any():
                bad[index] = InvalidRequestError(
                    "the input tensor holds NaN", "check what the client's preprocessing divides by"
                )
    return bad


def run_batch(context: ExecutionContext, info: EngineInfo, batch: Batch, arena: SlotArena | None) -> None:
    """Fill `batch.outputs` or `batch.error`, and `batch.timing`.

    Raises:
        InstanceLostError: the context is dead; `batch.error` says so too.
    """
    rows = rows_of(batch.requests, batch.key, arena)
    batch.outputs, batch.error = run_rows(
        context, info, rows, batch.timing, batch.top_k, tensors=batch.tensors_wanted
    )
    if batch.outputs is not None:
        batch.item_errors = batch.outputs.row_errors
    if isinstance(batch.error, InstanceLostError):
        raise batch.error
