"""An event loop on a thread of its own, for callers that have none."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")

EXIT_GRACE_S = 2.0


class LoopThread:
    """Runs coroutines that any thread hands in, and returns their results to that thread.

    The thread is a daemon, so that it cannot hold up the interpreter's exit; one that still runs then is
    stopped, and given `EXIT_GRACE_S`. A child made by `os.fork()` has this object and not its thread.

    Args:
        at_end: run on the loop as the last thing, with nothing else running.
    """

    def __init__(self, name: str, at_end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._at_end = at_end
        self._process = os.getpid()
        started: concurrent.futures.Future[asyncio.AbstractEventLoop] = concurrent.futures.Future()
        # Orders calls before the stop: the loop runs what it was handed in order, so that every call
        # handed in is a task by the time `_finish` cancels them, and none is left without an answer.
        self._handing_in = threading.Lock()
        self._stopped = False
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._main, args=(started,), name=name, daemon=True)
        self._thread.start()
        self._loop = started.result()
        _running.add(self)

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """The coroutine's result; blocks the calling thread. Interrupted (Ctrl-C), it cancels it.

        Raises:
            RuntimeError: the loop was stopped, before or meanwhile, or runs in the parent process.
        """
        if self._process != os.getpid():
            coroutine.close()
            raise RuntimeError("the client was made before this process was forked: make another one here")
        with self._handing_in:
            if self._stopped:
                coroutine.close()
                raise RuntimeError("the client is closed")
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise RuntimeError("the client was closed during the call") from None
        except BaseException:
            future.cancel()
            raise

    @property
    def stopped(self) -> bool:
        return self._stopped

    def stop(self) -> None:
        """Cancel what runs, run `at_end`, and let the thread end. Does not wait; may be called again."""
        if self._process != os.getpid():
            return
        with self._handing_in:
            if self._stopped:
                return
            self._stopped = True
            asyncio.run_coroutine_threadsafe(self._finish(), self._loop)

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until the thread has ended; returns at once on the thread itself and in a forked child."""
        if self._process == os.getpid() and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _main(self, started: concurrent.futures.Future[asyncio.AbstractEventLoop]) -> None:
        # The runner ends the executor and closes the loop.
        with asyncio.Runner() as runner:
            runner.run(self._until_end(started))

    async def _until_end(self, started: concurrent.futures.Future[asyncio.AbstractEventLoop]) -> None:
        self._main_task = asyncio.current_task()
        started.set_result(asyncio.get_running_loop())
        await self._end.wait()

    async def _finish(self) -> None:
        try:
            calls = asyncio.all_tasks() - {self._main_task, asyncio.current_task()}
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            await self._at_end()
        finally:
            self._end.set()


# Threads keep their LoopThread alive while they run, so that this holds every one that does.
_running: weakref.WeakSet[LoopThread] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    threads = list(_running)
    for thread in threads:
        thread.stop()
    for thread in threads:
        thread.join(EXIT_GRACE_S)
