"""Images on the host's threads: what the native core can do on its own pool, the rest on Python's threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from beyond_serve.preprocess import native
from beyond_serve.preprocess.capabilities import Decoder
from beyond_serve.preprocess.geometry import Region
from beyond_serve.preprocess.header import ImageHeader
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.native import NativeStatus
from beyond_serve.preprocess.native_pool import Completion, NativePool
from beyond_serve.preprocess.pool import WorkerPool


class Stamps(NamedTuple):
    """When a worker began an image, where decoding ended and transforming began, and when it was done
    (`time.monotonic_ns`); and how, see `Made`."""

    started_ns: int
    decoded_ns: int
    done_ns: int
    decoder: Decoder = Decoder.NATIVE
    scale: int = 1


Done = Callable[[Stamps | None, BaseException | None], None]


class Job(NamedTuple):
    """One image on its way: `out` is written by a worker until `done` is called."""

    preprocessor: HostPreprocessor
    data: bytes
    header: ImageHeader
    out: NDArray[np.uint8]
    done: Done
    region: Region | None = None


class ImagePool:
    """`threads` native workers where the core was built, and as many Python ones for what it leaves alone.

    Guarantee: `done` is called exactly once for every job submitted before `close`, on the event loop,
    with stamps or an error. Native completions cost the loop one wake-up for all that are there.
    """

    def __init__(self, threads: int, loop: asyncio.AbstractEventLoop, capacity: int = 1024) -> None:
        self._loop = loop
        self._workers = WorkerPool(threads, loop)
        self._native = NativePool(threads, capacity) if native.available() else None
        if self._native is not None:
            self._native.attach(loop, self._completed)

    def submit(self, job: Job) -> None:
        """Preprocess `job.data` into `job.out`. On any thread.

        Raises:
            InvalidRequestError: the region does not lie inside the image.
            ShuttingDownError: the pool is closed.
        """
        native_pool = self._native
        params = job.preprocessor.native_params(job.header, job.region) if native_pool is not None else None
        if params is None or native_pool is None or not native_pool.submit(job, job.data, params, job.out):
            self._by_library(job)

    def close(self) -> None:
        """Finish what runs and join the threads; jobs that no native thread had begun end with
        ShuttingDownError. Blocks; call it on the loop, after which nothing more is told."""
        if self._native is not None:
            self._native.detach(self._loop)
            self._native.close()
            # Before the workers end: what the core left alone is theirs.
            self._completed(self._native.completed())
            self._native = None
        self._workers.close()

    def _by_library(self, job: Job) -> None:
        self._workers.submit(lambda: _run(job), job.done)

    def _completed(self, completions: list[Completion]) -> None:
        for job, outcome in completions:
            assert isinstance(job, Job)
            if outcome.status == NativeStatus.OK:
                decoded_ns, scale = outcome.start_ns + outcome.decode_ns, 8 // outcome.scale
                job.done(Stamps(outcome.start_ns, decoded_ns, outcome.end_ns, Decoder.NATIVE, scale), None)
            elif outcome.status == NativeStatus.UNSUPPORTED:
                self._by_library(job)
            else:
                job.done(None, outcome.error())


def _run(job: Job) -> Stamps:
    """On a Python worker's thread."""
    started_ns = time.monotonic_ns()
    made = job.preprocessor.run(job.data, job.header, job.out, job.region)
    return Stamps(started_ns, made.decoded_ns, time.monotonic_ns(), made.decoder, made.scale)
