"""Where a part runs: its device, its folder, its time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from beyond_serve.engines.cuda.runtime import CudaRuntime
from beyond_serve.errors import BeyondError


class NotHere(BeyondError):
    """A part, or something in it, cannot be done on this machine; the message says why."""

    code = "not_here"


def open_device(index: int) -> CudaRuntime:
    """The device's runtime.

    Raises:
        ModelLoadError: no driver, or no such device.
    """
    from beyond_serve.engines.cuda.bindings import open_runtime

    return open_runtime(f"cuda:{index}")


@dataclass(frozen=True, slots=True)
class Site:
    """
    Attributes:
        work: a folder that all parts share, removed at the end; built models lie there.
        limit_s: when the part's process is ended, in seconds after `started`.
        open_runtime: the device as engines see it.
    """

    device: int
    work: Path
    quick: bool
    limit_s: float
    started: float
    open_runtime: Callable[[int], CudaRuntime] = open_device
    clock: Callable[[], float] = time.monotonic

    def left_s(self) -> float:
        return max(0.0, self.started + self.limit_s - self.clock())

    def runtime(self) -> CudaRuntime:
        """Bound to this thread."""
        runtime = self.open_runtime(self.device)
        runtime.bind()
        return runtime
