"""Many images on many threads, for programs that are no server: futures, and awaitables for asyncio."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from beyond_serve.errors import BeyondError, QueueFullError
from beyond_serve.preprocess.decoding import (
    DEFAULT_LIMITS,
    Decoded,
    checked_header,
    output_for,
    preprocessor_for,
)
from beyond_serve.preprocess.geometry import Region
from beyond_serve.preprocess.image_pool import ImagePool, Job, Stamps
from beyond_serve.preprocess.limits import PixelLimits
from beyond_serve.preprocess.places import Places
from beyond_serve.preprocess.plan import Fidelity, PreprocessPlan


class Pool:
    """`decode` on `threads` threads of its own. Use it from any thread, and as a context manager.

    The server's own `ImagePool`, with an event loop on a thread to hear its completions. Small images pass
    large ones; none starves.

    Backpressure: at most `capacity` images are in the pool, waiting or under way. Beyond that `submit` raises
    QueueFullError at once, or waits as long as it is told to, and `decode` waits its turn.

    Guarantees: every future gets a result or an error, also when the pool closes; a bad image is its own
    future's error and nobody else's. `out` is written only until its future is done. A future cannot be
    cancelled: the image may be under way. Callbacks of futures run on the pool's thread: they must be short
    and wait for nothing of the pool.

    Args:
        threads: that decode, at least 1.
        fidelity, tolerate_corrupt, limits: as of `decoding.decode`.
        capacity: images in the pool at most, at least 1.

    Raises:
        ValueError: threads or capacity below 1, or absurd.
        OSError: no threads to be had.
    """

    def __init__(
        self,
        threads: int,
        *,
        fidelity: Fidelity = "exact",
        tolerate_corrupt: bool = False,
        limits: PixelLimits = DEFAULT_LIMITS,
        capacity: int = 1024,
    ) -> None:
        self._how = (fidelity, tolerate_corrupt)
        self._limits = limits
        self._places = Places(capacity)
        self._loop = asyncio.new_event_loop()
        try:
            self._images = ImagePool(threads, self._loop, capacity)
        except BaseException:
            self._loop.close()
            raise
        self._thread = threading.Thread(target=self._loop.run_forever, name="decode-pool", daemon=True)
        self._thread.start()
        self._closing = threading.Lock()

    def __repr__(self) -> str:
        return f"<Pool {self._places.taken} of {self._places.count} places taken>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(
        self,
        data: bytes,
        plan: PreprocessPlan,
        out: NDArray[np.uint8] | None = None,
        *,
        region: Region | None = None,
        timeout_s: float | None = 0.0,
    ) -> Future[Decoded]:
        """Have one image decoded; arguments and the future's errors are those of `decoding.decode`.

        Args:
            timeout_s: how long to wait for a place when the pool is full: not at all, seconds, or None:
                as long as it takes.

        Raises:
            QueueFullError: no place in that time.
            ShuttingDownError: the pool is closed.
            ValueError, TypeError: `out` or `data` is nothing that any image could go with.
        """
        pixels = output_for(plan, data, out)
        place = self._places.take()
        try:
            place.result(timeout_s)
        except BaseException as error:
            self._places.give_up(place)
            if not isinstance(error, TimeoutError):
                raise
            raise QueueFullError(
                f"the pool is full: {self._places.count} images are in it",
                "wait for a future, or give submit a timeout_s",
            ) from None
        return self._start(data, plan, pixels, region)

    async def decode(
        self,
        data: bytes,
        plan: PreprocessPlan,
        out: NDArray[np.uint8] | None = None,
        *,
        region: Region | None = None,
    ) -> Decoded:
        """`submit` for coroutines, on any event loop: waits for a place, then for the image.

        Cancelled while waiting for a place, it ends at once. After that it ends, cancelled, when the image is
        done, so that `out` is the caller's again.

        Raises:
            All of `decoding.decode`, and ShuttingDownError: the pool is closed.
        """
        pixels = output_for(plan, data, out)
        place = self._places.take()
        try:
            if not place.done():
                await asyncio.wrap_future(place)
        except BaseException:
            self._places.give_up(place)
            raise
        return await _uninterrupted(asyncio.wrap_future(self._start(data, plan, pixels, region)))

    def close(self, *, cancel: bool = False) -> None:
        """Take no more images, finish those in the pool, end the threads. Blocks; idempotent.

        Args:
            cancel: finish only what is under way; what waits may end with ShuttingDownError.
        """
        self._places.close()
        if not cancel:
            self._places.join()
        with self._closing:
            if self._loop.is_closed():
                return
            self._loop.call_soon_threadsafe(self._end)
            self._thread.join()
            self._loop.close()

    def _end(self) -> None:
        self._images.close()
        # Behind the results that closing brought.
        self._loop.call_soon(self._loop.stop)

    def _start(
        self, data: bytes, plan: PreprocessPlan, out: NDArray[np.uint8], region: Region | None
    ) -> Future[Decoded]:
        """With a place taken, which is given back when the image is done."""
        future: Future[Decoded] = Future()
        future.set_running_or_notify_cancel()
        try:
            header = checked_header(data, plan, region, self._limits)

            def done(stamps: Stamps | None, error: BaseException | None) -> None:
                self._places.free()
                if stamps is None:
                    future.set_exception(error)
                    return
                decode_ns = stamps.decoded_ns - stamps.started_ns
                transform_ns = stamps.done_ns - stamps.decoded_ns
                future.set_result(Decoded(out, header, stamps.decoder, stamps.scale, decode_ns, transform_ns))

            self._images.submit(Job(preprocessor_for(plan, *self._how), data, header, out, done, region))
        except BaseException as error:
            self._places.free()
            if not isinstance(error, BeyondError):
                raise
            future.set_exception(error)
        return future


async def _uninterrupted(future: asyncio.Future[Decoded]) -> Decoded:
    """Its result; cancelled, wait for it all the same, then be cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        future.exception()  # looked at, so that asyncio does not report it as forgotten
        raise cancelled
    return future.result()
