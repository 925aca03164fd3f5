"""A slot arena in memory that child processes map too.

On Linux the memory is anonymous (memfd) and reached by its path under /proc, so that nothing is left
behind whatever becomes of parent or child; elsewhere it is a temporary file.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile

from beyond_serve.engines.slots import SlotArena


class SharedArena:
    """A `SlotArena` that others can attach by `path`. Owned by the parent.

    The mapping itself lives as long as arrays on it do; `close` only ends its being found by path.
    """

    def __init__(self, count: int, shape: tuple[int, int, int]) -> None:
        self.count = count
        self.shape = shape
        if hasattr(os, "memfd_create"):
            self._fd = os.memfd_create("beyond-serve rows", os.MFD_CLOEXEC)
            self.path = f"/proc/{os.getpid()}/fd/{self._fd}"
            self._file: str | None = None
        else:
            self._fd, self.path = tempfile.mkstemp(prefix="beyond-serve-rows-")
            self._file = self.path
        os.ftruncate(self._fd, row_bytes(count, shape))
        self.slots = SlotArena(count, shape, map_rows(self._fd, count, shape))

    def close(self) -> None:
        os.close(self._fd)
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._file)


def attach_arena(path: str, count: int, shape: tuple[int, int, int]) -> SlotArena:
    """The arena of another process, by its `SharedArena.path`.

    Raises:
        OSError: its owner is gone.
    """
    fd = os.open(path, os.O_RDWR)
    try:
        return SlotArena(count, shape, map_rows(fd, count, shape))
    finally:
        os.close(fd)


def map_rows(fd: int, count: int, shape: tuple[int, int, int]) -> memoryview:
    return memoryview(mmap.mmap(fd, row_bytes(count, shape)))


def row_bytes(count: int, shape: tuple[int, int, int]) -> int:
    return count * shape[0] * shape[1] * shape[2]
