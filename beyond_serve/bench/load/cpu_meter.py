"""What a worker's event loop costs, and whether it got the core that it wanted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

_SCHEDSTAT = Path("/proc/thread-self/schedstat")


class CpuShares(NamedTuple):
    """Of the measured time, for one core: CPU of the thread that sends, CPU of the whole process (gRPC has
    more threads), and how long that thread was ready to run and had no core. 0 where it cannot be known."""

    thread: float
    process: float
    waiting: float


class CpuMeter:
    """Measures between its first two marks, on the thread that calls it."""

    def __init__(self) -> None:
        self._marks: list[tuple[int, int, int, int]] = []

    def mark(self) -> None:
        if len(self._marks) < 2:
            now = time.monotonic_ns()
            self._marks.append((now, time.thread_time_ns(), time.process_time_ns(), _waited_ns()))

    def shares(self) -> CpuShares:
        """Ends the measurement if that has not been done."""
        self.mark()
        if len(self._marks) < 2:
            return CpuShares(0.0, 0.0, 0.0)
        start, end = self._marks
        took = max(1, end[0] - start[0])
        return CpuShares(*((b - a) / took for a, b in zip(start[1:], end[1:], strict=True)))


def _waited_ns() -> int:
    """How long this thread has waited for a core, by Linux's own account."""
    try:
        return int(_SCHEDSTAT.read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
