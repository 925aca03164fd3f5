"""Does an engine answer every row as its reference does: all batch sizes, images and tensors, two at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import BatchTiming
from beyond_serve.bench.gpu_check.figures import below, holds
from beyond_serve.bench.gpu_check.findings import Recorder
from beyond_serve.bench.gpu_check.parts.kernels import rank_fault
from beyond_serve.bench.gpu_check.reference import row_errors, worst
from beyond_serve.engines.classify import classify
from beyond_serve.engines.execution import run_rows
from beyond_serve.engines.protocol import (
    BatchRows,
    Engine,
    EngineInfo,
    ExecutionContext,
    RankingContext,
    tensor_key,
)
from beyond_serve.engines.slots import PayloadRows, SlotRows
from beyond_serve.errors import EngineError

Pixels = NDArray[np.uint8]
Scores = Callable[[Pixels], NDArray[np.generic]]
"""float32 scores [n, classes] of images [n, H, W, 3], from somewhere else."""

Prepare = Callable[[Pixels], NDArray[np.generic]]
"""The network's own input [n, …] of images."""


class EngineCheck:
    """One engine beside its reference; each image is random and new.

    Args:
        limit: of `row_errors`, which every row must stay below.
    """

    def __init__(
        self, what: str, engine: Engine, reference: Scores, limit: float, rng: np.random.Generator
    ) -> None:
        assert engine.info.image_shape is not None
        assert engine.info.scores is not None
        self._what = what
        self._engine = engine
        self._reference = reference
        self._limit = limit
        self._rng = rng
        self._shape = engine.info.image_shape
        self._scores = engine.info.scores
        self.rows = 0

    def pixels(self, count: int) -> Pixels:
        return self._rng.integers(0, 256, (count, *self._shape), np.uint8)

    def images(self, record: Recorder, sizes: Sequence[int]) -> None:
        """Rows that lie in slots, side by side and with gaps, of each batch size."""
        self._within(record, f"images in batches of {_listed(sizes)}", [self.image_errors(sizes)])

    def image_errors(self, sizes: Sequence[int]) -> NDArray[np.float64]:
        """How far off each such row is. To be called once: the engine adopts the slots."""
        errors = []
        arena = self.pixels(2 * max(sizes))
        self._engine.adopt_rows(arena)
        with closing(self._engine.create_context()) as context:
            for size in sizes:
                arena[:] = self.pixels(len(arena))
                errors += [
                    self._off(context, SlotRows(arena, indices), arena[list(indices)])
                    for indices in (range(size), self._scattered(len(arena), size))
                ]
        return np.concatenate(errors)

    def tensors(self, record: Recorder, sizes: Sequence[int], prepare: Prepare) -> None:
        """The network's own input, as clients send it."""
        self._engine.prepare_tensors()
        errors = []
        with closing(self._engine.create_context()) as context:
            for size in sizes:
                pixels = self.pixels(size)
                errors.append(self._off(context, tensor_rows(prepare(pixels)), pixels))
        self._within(record, f"tensors in batches of {_listed(sizes)}", errors)

    def at_once(self, record: Recorder, size: int, rounds: int) -> None:
        """Two contexts on two threads, each with images of its own."""
        errors: list[NDArray[np.float64]] = []
        failures: list[Exception] = []

        def work(batches: list[Pixels], expected: list[NDArray[np.generic]]) -> None:
            try:
                with closing(self._engine.create_context()) as context:
                    for pixels, wanted in zip(batches, expected, strict=True):
                        found = context.infer(SlotRows(pixels, range(size)), BatchTiming())
                        errors.append(row_errors(found[self._scores], wanted))
            except Exception as error:  # told by the thread that waits
                failures.append(error)

        threads = []
        for _ in range(2):
            batches = [self.pixels(size) for _ in range(rounds)]
            expected = [self._reference(pixels) for pixels in batches]
            threads.append(threading.Thread(target=work, args=(batches, expected)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        self._within(record, f"two contexts at once, {rounds} batches of {size} each", errors)

    def ranks(self, record: Recorder, sizes: Sequence[int], top_k: int = 5) -> None:
        """What the device ranks is what `classify` makes of the same images' scores."""
        fault = ""
        with closing(self._engine.create_context()) as context:
            if not isinstance(context, RankingContext) or self._engine.info.ranks < top_k:
                record.skip(f"{self._what}: ranking on the device", "the engine ranks on the host")
                return
            for size in sizes:
                rows = SlotRows(self.pixels(size), range(size))
                scores = context.infer(rows, BatchTiming())
                top, indices = context.rank(rows, BatchTiming(), top_k)
                fault = fault or rank_fault(top, indices, classify(scores, self._engine.info, top_k))
        record.check(holds(f"{self._what}: top {top_k} of the device", "classify's, in every row", fault))

    def nan_rows(self, record: Recorder, prepare: Prepare, size: int = 4) -> None:
        """A NaN in a client's tensor is that row's error and no other's."""
        values = prepare(self.pixels(size))
        if values.dtype.kind != "f":
            record.skip(f"{self._what}: NaN in tensors", "the network takes uint8, which has none")
            return
        values[size // 2].flat[0] = np.nan
        with closing(self._engine.create_context()) as context:
            fault = nan_fault(context, self._engine.info, tensor_rows(values), {size // 2})
        record.check(holds(f"{self._what}: NaN in a tensor", "an error for its row alone", fault))

    def _scattered(self, slots: int, size: int) -> list[int]:
        return sorted(self._rng.choice(slots, size, replace=False).tolist())

    def _off(self, context: ExecutionContext, rows: BatchRows, pixels: Pixels) -> NDArray[np.float64]:
        found = context.infer(rows, BatchTiming())[self._scores]
        if len(found) != len(pixels):
            raise EngineError(f"{len(pixels)} rows went in, {len(found)} came out")
        return row_errors(found, self._reference(pixels))

    def _within(self, record: Recorder, what: str, errors: Sequence[NDArray[np.float64]]) -> None:
        together = np.concatenate(errors)
        self.rows += len(together)
        what = f"{self._what}: {what}: largest relative error of {len(together)} rows"
        record.check(below(what, self._limit, worst(together)))


def tensor_rows(values: NDArray[np.generic]) -> PayloadRows:
    return PayloadRows(tensor_key(values.shape[1:]), list(values))


def nan_fault(context: ExecutionContext, info: EngineInfo, rows: BatchRows, bad: set[int]) -> str:
    """What is wrong with the errors of a batch whose rows `bad` hold NaN; empty if nothing is."""
    outputs, error = run_rows(context, info, rows, BatchTiming(), 5)
    if error is not None or outputs is None:
        return f"the whole batch failed: {error.message if error else 'no outputs'}"
    found = set(outputs.row_errors)
    return "" if found == bad else f"errors in rows {sorted(found)}, not {sorted(bad)}"


def _listed(sizes: Sequence[int]) -> str:
    return (
        ", ".join(map(str, sizes))
        if len(sizes) <= 6
        else f"{min(sizes)} to {max(sizes)} ({len(sizes)} sizes)"
    )
