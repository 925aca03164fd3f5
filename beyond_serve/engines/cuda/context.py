"""Runs batches on a GPU: uint8 rows in, one graph launch, results out; the same for every library."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import BatchTiming
from beyond_serve.engines.cuda.buckets import bucket_for
from beyond_serve.engines.cuda.device_rows import DeviceRows
from beyond_serve.engines.cuda.errors import for_batch
from beyond_serve.engines.cuda.runtime import CudaError
from beyond_serve.engines.cuda.setup import ContextSetup
from beyond_serve.engines.cuda.tensors import Array, parts
from beyond_serve.engines.cuda.timeline import borders
from beyond_serve.engines.cuda.work import BatchWork
from beyond_serve.engines.protocol import IMAGE, BatchRows
from beyond_serve.engines.tensor_rows import check_tensor_key, check_tensor_rows
from beyond_serve.errors import BeyondError, EngineError, InstanceLostError

T = TypeVar("T")


class CudaContext:
    """One stream, its fixed buffers and its graphs. Made, used and closed by one thread.

    In steady state it allocates nothing on the device or in pinned memory, and touches no other stream.
    The thread sleeps, with the GIL released, on the last event of a batch.

    Args:
        lost: told once if the device is lost; afterwards every batch gets InstanceLostError.
        closed: told when the context's owner has closed it.

    Raises:
        CudaError: no room on the device, or it refuses. EngineError: the library refuses.
    """

    def __init__(
        self,
        setup: ContextSetup,
        *,
        lost: Callable[[CudaError], None] = lambda _: None,
        closed: Callable[[], None] = lambda: None,
        clock: Callable[[], int] = time.monotonic_ns,
        graphs: bool = True,
    ) -> None:
        self._setup = setup
        self._runtime = setup.runtime
        self._on_lost = lost
        self._on_closed = closed
        self._clock = clock
        # Held while a batch runs: an engine that gives up the device waits for it.
        self._running = threading.Lock()
        self._gone: BeyondError | None = None
        self._closed = False
        self._open = contextlib.ExitStack()
        try:
            self._set_up(graphs)
        except BaseException:
            self._open.close()
            raise

    def _set_up(self, graphs: bool) -> None:
        setup, runtime, leave = self._setup, self._runtime, self._open.callback
        runtime.bind()
        self._stream = runtime.create_stream()
        leave(_quietly, runtime.destroy_stream, self._stream)
        self._events = tuple(runtime.create_event() for _ in range(4))
        for event in self._events:
            leave(_quietly, runtime.destroy_event, event)
        self._rows = DeviceRows(setup)
        leave(self._rows.close)
        program = setup.network.program(self._stream, self._rows.buffers)
        leave(program.close)
        rows = self._rows
        self._images = BatchWork(
            program, lambda n: self._enqueue(program.enqueue, n, images=True), self._settle, setup.capturing
        )
        leave(self._images.close)
        self._tensors = self._images
        if not setup.takes_rows:
            self._tensors = BatchWork(
                program,
                lambda n: self._enqueue(program.enqueue, n, images=False),
                self._settle,
                setup.capturing,
            )
            leave(self._tensors.close)
        # What lies behind the rows of a batch that is smaller than its bucket is computed too.
        rows.clear(self._stream)
        if graphs:
            self._images.prepare(setup.buckets)

    def _enqueue(self, network: Callable[[int], None], rows: int, *, images: bool) -> None:
        """Everything between the copies, for a bucket."""
        if images:
            self._rows.normalise(rows, self._stream)
        network(rows)
        self._rows.rank(rows, self._stream)

    def _settle(self) -> None:
        self._runtime.synchronize(self._stream)

    def infer(self, batch: BatchRows, timing: BatchTiming) -> Mapping[str, NDArray[np.generic]]:
        rows = self._rows
        found = self._run(batch, timing, rows.fetch_outputs, rows.outputs)
        if len(found) == 1:
            return found[0]
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}

    def rank(
        self, batch: BatchRows, timing: BatchTiming, top_k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """`RankingContext.rank`, from what the ranking kernel found."""
        rows = self._rows
        found = self._run(batch, timing, rows.fetch_ranks, lambda count: rows.ranks(count, top_k))
        return np.concatenate([part[0] for part in found]), np.concatenate([part[1] for part in found])

    def _run(
        self,
        batch: BatchRows,
        timing: BatchTiming,
        fetch: Callable[[int, int], None],
        read: Callable[[int], T],
    ) -> list[T]:
        with self._running:
            if self._gone is not None:
                raise self._gone
            images = batch.key == IMAGE
            runs = self._checked(batch, images=images)
            work = self._images if images else self._tensors
            target = self._rows.images_at if images else self._rows.buffers.input
            try:
                return self._run_parts(runs, (work, target), fetch, read, timing)
            except CudaError as error:
                raise self._failed(for_batch(error), error) from error
            except EngineError as error:
                raise self._failed(error) from error

    def _run_parts(
        self,
        runs: list[Array],
        way: tuple[BatchWork, int],
        fetch: Callable[[int, int], None],
        read: Callable[[int], T],
        timing: BatchTiming,
    ) -> list[T]:
        """More rows than the largest bucket run one bucket after the other."""
        runtime, stream, (begun, copied, inferred, fetched) = self._runtime, self._stream, self._events
        buckets = self._setup.buckets
        work, target = way
        results: list[T] = []
        copy_in = infer = copy_out = 0
        recorded_ns = self._clock()
        for part in parts(runs, buckets[-1]):
            count = sum(map(len, part))
            bucket = bucket_for(count, buckets)
            runtime.record(begun, stream)
            self._rows.upload(part, target, stream)
            runtime.record(copied, stream)
            work.launch(bucket)
            runtime.record(inferred, stream)
            fetch(count, stream)
            runtime.record(fetched, stream)
            runtime.wait(fetched)
            seen_ns = self._clock()
            results.append(read(count))
            copy_in += runtime.elapsed_ns(begun, copied)
            infer += runtime.elapsed_ns(copied, inferred)
            copy_out += runtime.elapsed_ns(inferred, fetched)
            work.capture_later(bucket)
        timing.copied_in, timing.inferred, timing.copied_out = borders(
            recorded_ns, seen_ns, copy_in, infer, copy_out
        )
        return results

    def _checked(self, batch: BatchRows, *, images: bool) -> list[Array]:
        """The batch's runs, which are what will be copied, byte by byte."""
        if images:
            shape = self._setup.image.host_shape
            runs = list(batch.runs())
            if any(run.shape[1:] != shape or run.dtype != np.uint8 for run in runs):
                raise EngineError(f"an image row is not uint8 {list(shape)}")
            return runs
        spec = self._setup.network.spec.input
        check_tensor_key(batch.key)
        runs = list(batch.runs())
        for run in runs:
            check_tensor_rows(run, spec)
        return runs

    def _failed(self, failure: BeyondError, cause: CudaError | None = None) -> BeyondError:
        """What the batch fails with. The stream is at rest again, or the context is gone: a copy still to
        come would otherwise read what the next batch has written."""
        if not isinstance(failure, InstanceLostError):
            try:
                self._settle()
            except CudaError as worse:
                failure, cause = for_batch(worse), worse
        if isinstance(failure, InstanceLostError):
            self._gone = failure
            if cause is not None:
                self._on_lost(cause)
        return failure

    @property
    def closed(self) -> bool:
        return self._closed

    def abandon(self, error: BeyondError) -> None:
        """Let go of the device, whichever thread asks; batches get `error` from now on. Waits for one that
        runs."""
        with self._running:
            self._gone = self._gone or error
            self._closed = True
            self._open.close()

    def close(self) -> None:
        self.abandon(EngineError("the context is closed"))
        self._on_closed()


def _quietly(call: Callable[[int], None], handle: int) -> None:
    # A device that is lost has lost its handles too.
    with contextlib.suppress(CudaError):
        call(handle)
