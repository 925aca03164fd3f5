"""The native core's threads: decode in the background, completions told to an event loop in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.preprocess.native import NativeOutcome, NativeParams, native_module

Completion = tuple[object, NativeOutcome]
"""The token given to `submit`, and what happened."""


class NativePool:
    """Decodes on `threads` threads that never touch Python.

    Order: a waiting image's turn comes by its age and its cost, predicted from its header; a short image is
    also let through in the middle of a longer one, on the same thread, between rows. An image can be
    overtaken only by what arrives within eight times its own predicted cost, so none starves.

    Memory: each thread keeps its scratch; a steady stream allocates nothing. data, slot and token are kept
    alive until their completion has been taken.

    Args:
        threads: at least 1.
        capacity: images that may be in flight: waiting, running or completed and not yet taken.

    Raises:
        OSError: no thread or descriptor to be had.
    """

    def __init__(self, threads: int, capacity: int = 1024) -> None:
        self._pool: Any = native_module().Pool(threads, capacity)

    def submit(
        self,
        token: object,
        data: bytes | bytearray | memoryview,
        params: NativeParams,
        slot: NDArray[np.uint8] | memoryview,
    ) -> bool:
        """Queue one image; False when the pool is full or closed. `slot` is as `out` of `decode`; leave it
        alone until the completion.

        Raises:
            ValueError, BufferError: params or a slot that no image could satisfy.
        """
        accepted: bool = self._pool.submit(token, data, params, slot)
        return accepted

    def completed(self) -> list[Completion]:
        """All that finished since the last call, oldest first; clears `fileno`. Never blocks."""
        return [(token, NativeOutcome._make(outcome)) for token, outcome in self._pool.completed()]

    def fileno(self) -> int:
        """Readable while something is completed and not taken."""
        descriptor: int = self._pool.fileno()
        return descriptor

    def waiting(self) -> int:
        """Images that no thread has begun."""
        count: int = self._pool.waiting()
        return count

    def attach(
        self, loop: asyncio.AbstractEventLoop, on_completed: Callable[[list[Completion]], None]
    ) -> None:
        """Have `loop` call `on_completed` once per wake-up with all that is completed."""
        loop.add_reader(self.fileno(), lambda: on_completed(self.completed()))

    def detach(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_reader(self.fileno())

    def close(self) -> None:
        """Cancel what waits, wait for what runs, join the threads. Completions may still be taken. Blocks for
        at most the longest decode under way."""
        self._pool.close()
