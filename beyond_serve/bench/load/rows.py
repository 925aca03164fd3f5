"""One row per request, in memory that a worker writes and its parent reads.

The memory is a file without a name: nothing is sent or pickled at the end, what a killed worker had
measured is there, and progress is read without asking the worker. Pages that are never written cost
nothing, so a closed loop's table may be far larger than what it uses.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import STAGES

TRACE = struct.Struct(f"={4 + len(STAGES)}f")
"""1 for present, batch size, simulated, the server's total, then the stages; microseconds."""

_COLUMNS = (
    ("scheduled", "q"),
    ("sent", "q"),
    ("received", "q"),
    ("bytes_in", "q"),
    ("status", "h"),
    ("error", "h"),
)


def shared_file(size: int) -> int:
    """A descriptor of `size` bytes of zeros that a child process can inherit."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("beyond-bench-rows")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


class Rows:
    """`capacity` rows in the file `descriptor`. Times are `time.monotonic_ns`, 0 for not yet.

    A request's `scheduled` and `sent` are written when it leaves, the rest at its end, `received` last:
    a row whose `received` is set is whole.
    """

    def __init__(self, descriptor: int, capacity: int, *, traced: bool) -> None:
        self.capacity = capacity
        self._map = mmap.mmap(descriptor, file_size(capacity, traced=traced))
        memory = memoryview(self._map)
        at = 0
        for name, code in _COLUMNS:
            size = struct.calcsize(code) * capacity
            setattr(self, name, memory[at : at + size].cast("q" if code == "q" else "h"))
            at += _aligned(size)
        self.traces = memory[at : at + TRACE.size * capacity * traced]

    scheduled: memoryview[int]
    sent: memoryview[int]
    received: memoryview[int]
    bytes_in: memoryview[int]
    status: memoryview[int]
    error: memoryview[int]

    def column(self, name: str, start: int = 0, end: int | None = None) -> NDArray[Any]:
        """A view of one column's rows."""
        view = getattr(self, name)
        return np.frombuffer(view, np.int64 if view.itemsize == 8 else np.int16)[start:end]

    def trace_columns(self, end: int) -> NDArray[np.float32]:
        """float32 [end, 4 + stages]; no rows if nothing was traced."""
        values = np.frombuffer(self.traces, np.float32).reshape(-1, TRACE.size // 4)
        return values[:end]

    def used(self, start: int = 0) -> int:
        """Rows in use from the first on: workers fill them in order. `start` are known to be."""
        scheduled = self.column("scheduled")
        step = 4096
        while start + step <= self.capacity and scheduled[start + step - 1]:
            start += step
        return start + int(np.count_nonzero(scheduled[start : start + step]))


def file_size(capacity: int, *, traced: bool) -> int:
    """Bytes of a file for so many rows."""
    columns = sum(_aligned(struct.calcsize(code) * capacity) for _, code in _COLUMNS)
    return columns + max(TRACE.size * capacity * traced, mmap.PAGESIZE)


def _aligned(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
