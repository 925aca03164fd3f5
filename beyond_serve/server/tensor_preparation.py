"""The graph without preprocessing: compiled off the loop, when the first client sends tensors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from beyond_serve.errors import BeyondError, EngineError

Then = Callable[[BeyondError | None], None]


class TensorPreparation:
    """Prepares once and lets those who came early wait for it. A failure is told to them, and tried again
    by the next. Owned by the event loop.

    Args:
        prepare: blocks for as long as it takes.
    """

    def __init__(self, prepare: Callable[[], None]) -> None:
        self._prepare = prepare
        self._task: asyncio.Task[None] | None = None
        self._ready = False

    def when_ready(self, then: Then) -> None:
        """Call `then` with None once prepared, at once if that was before; else with what failed."""
        if self._ready:
            then(None)
            return
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(lambda task: self._done(task, then))

    async def _run(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._prepare)

    def _done(self, task: asyncio.Task[None], then: Then) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._ready = not task.cancelled()
            then(None)
            return
        self._task = None
        then(error if isinstance(error, BeyondError) else EngineError(f"{type(error).__name__}: {error}"))
