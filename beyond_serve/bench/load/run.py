"""`run_load`: one run from its specification to its result."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait

from beyond_serve.bench.load.collect import collect
from beyond_serve.bench.load.plan import worker_plans
from beyond_serve.bench.load.prepare import prepare
from beyond_serve.bench.load.progress import ProgressReader
from beyond_serve.bench.load.result import LoadResult
from beyond_serve.bench.load.spec import LoadProgress, LoadSpec
from beyond_serve.bench.load.workers import WorkerProcess
from beyond_serve.errors import ConfigError

PROGRESS_EVERY_S = 0.25
_START_TIMEOUT_S = 60.0
_LAST_PATIENCE_S = 5.0


def run_load(
    spec: LoadSpec,
    on_progress: Callable[[LoadProgress], None] | None = None,
    stop: threading.Event | None = None,
) -> LoadResult:
    """Offer the load and measure. Blocks until the last answer, or until each request's timeout is over.

    Args:
        on_progress: called a few times a second, in this thread.
        stop: ends the run early; the result says so. Ctrl-C does the same, a second Ctrl-C ends at once.

    Raises:
        BeyondError: the server cannot be reached or refuses the first request; the workers cannot start.
            Once load has been offered nothing raises: errors are counted, and the result says what failed.
    """
    plans = worker_plans(spec, prepare(spec))
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(WorkerProcess(plan)) for plan in plans]
        for worker in workers:
            worker.send_plan()
        _await_ready(workers)
        # All of them must have heard of it before it has come.
        start_ns = time.monotonic_ns() + 50_000_000
        for worker in workers:
            worker.start(start_ns)
        interrupted = _follow(spec, workers, start_ns, on_progress, stop or threading.Event())
        return collect(spec, workers, start_ns, interrupted=interrupted)


def _await_ready(workers: Sequence[WorkerProcess]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not all(worker.ready for worker in workers):
        if not _hear(workers, deadline - time.monotonic()):
            raise ConfigError(f"the load's workers did not start in {_START_TIMEOUT_S:g} s")
        for worker in workers:
            if worker.ended and not worker.ready:
                raise ConfigError(f"a worker of the load could not start: {worker.last_words()}")


def _follow(
    spec: LoadSpec,
    workers: Sequence[WorkerProcess],
    start_ns: int,
    on_progress: Callable[[LoadProgress], None] | None,
    stop: threading.Event,
) -> bool:
    """Wait for the workers to end; whether the run was cut short."""
    reader = ProgressReader(spec, [worker.rows for worker in workers], start_ns)
    interrupted = False
    give_up = float("inf")
    while not all(worker.ended for worker in workers) and time.monotonic() < give_up:
        try:
            _hear([worker for worker in workers if not worker.ended], PROGRESS_EVERY_S)
            if on_progress is not None:
                on_progress(reader.read(time.monotonic_ns()))
            if not stop.is_set() or interrupted:
                continue
        except KeyboardInterrupt:
            if interrupted:
                raise
        interrupted = True
        give_up = time.monotonic() + _LAST_PATIENCE_S
        for worker in workers:
            worker.stop()
    return interrupted


def _hear(workers: Sequence[WorkerProcess], timeout_s: float) -> bool:
    """Take what workers say, waiting for the first; False if none said anything in time."""
    listening = [worker for worker in workers if not worker.ended]
    readable = wait([worker.fileno() for worker in listening], max(0.0, timeout_s))
    for worker in listening:
        if worker.fileno() in readable:
            worker.hear()
    return bool(readable)
