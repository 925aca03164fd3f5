"""Own threads for work that releases the GIL, with results that come back to the event loop in batches."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from beyond_serve.errors import ShuttingDownError

R = TypeVar("R")
_Job = tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]
_Outcome = tuple[Callable[[Any, BaseException | None], None], Any, BaseException | None]

_log = logging.getLogger(__name__)


class WorkerPool:
    """`threads` workers over one FIFO.

    Guarantees: for every job submitted before `close`, `done` is called exactly once, on the loop, in
    the order in which jobs end; a job's exception is handed to `done` and ends no worker. Many results
    that end while the loop is busy cost it one callback. Results that the loop has no time left to
    take, because it is closed, are dropped.

    State: `_finished` is appended to by workers and emptied by the loop; `_signalled` says that a drain
    is scheduled that has not begun to empty it. Both are guarded by the order of operations in
    `_deliver` and `_drain` and by `_lock`.

    Args:
        threads: number of workers, at least 1.
        loop: the event loop on which `done` is called. `submit` and `close` may be called anywhere.
        name: prefix of the threads' names.
    """

    def __init__(self, threads: int, loop: asyncio.AbstractEventLoop, name: str = "preprocess") -> None:
        if threads < 1:
            raise ValueError("a pool needs at least one thread")
        self._loop = loop
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._finished: deque[_Outcome] = deque()
        self._lock = threading.Lock()
        self._signalled = False
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{index}", daemon=True)
            for index in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def __repr__(self) -> str:
        alive = sum(thread.is_alive() for thread in self._threads)
        return f"<WorkerPool {alive}/{len(self._threads)} threads, {self._jobs.qsize()} jobs waiting>"

    @property
    def threads(self) -> int:
        return len(self._threads)

    def submit(self, work: Callable[[], R], done: Callable[[R | None, BaseException | None], None]) -> None:
        """Run `work` on a worker, then `done(result, None)` or `done(None, error)` on the loop.

        Raises:
            ShuttingDownError: the pool is closed.
        """
        # Under the lock, so that no job comes to lie behind the workers' ends.
        with self._lock:
            if self._closed:
                raise ShuttingDownError("the worker pool is closed")
            self._jobs.put((work, done))

    def close(self) -> None:
        """Finish what was submitted, then end the threads and join them. Blocks; idempotent."""
        with self._lock:
            if not self._closed:
                self._closed = True
                for _ in self._threads:
                    self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, done = job
            result: Any = None
            error: BaseException | None = None
            try:
                result = work()
            except BaseException as raised:  # a job must not end a worker, whatever it raises
                error = raised
            self._deliver((done, result, error))
            # A worker that waits for its next job must not keep the last one's image alive.
            del job, work, done, result, error

    def _deliver(self, outcome: _Outcome) -> None:
        # Appended before the flag is looked at: whoever finds a drain scheduled knows that it will
        # see the outcome, because the drain clears the flag before it begins to empty the deque.
        self._finished.append(outcome)
        with self._lock:
            if self._signalled:
                return
            self._signalled = True
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:
            _log.debug("the loop is closed; %d results are dropped", len(self._finished))

    def _drain(self) -> None:
        with self._lock:
            self._signalled = False
        # Only what is there now: results that keep arriving get a drain of their own, so that a stream
        # of them cannot hold the loop.
        for _ in range(len(self._finished)):
            done, result, error = self._finished.popleft()
            try:
                done(result, error)
            except Exception as raised:
                self._loop.call_exception_handler(
                    {"message": "a worker pool's callback failed", "exception": raised}
                )
