"""The memory of one context: everything is allocated when it starts and kept until it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.cuda.runtime import CudaError, CudaRuntime

Array = NDArray[np.generic]


class PinnedRows:
    """The host's image rows, pinned where that was possible. Owned by the engine; contexts only ask."""

    def __init__(self) -> None:
        self._start = self._stop = 0

    def adopt(self, rows: NDArray[np.uint8]) -> None:
        self._start = rows.ctypes.data
        self._stop = self._start + rows.nbytes

    def drop(self) -> None:
        self._start = self._stop = 0

    def hold(self, address: int, nbytes: int) -> bool:
        return self._start <= address and address + nbytes <= self._stop


class ContextMemory:
    """Allocations of one context, given back together."""

    def __init__(self, runtime: CudaRuntime) -> None:
        self._runtime = runtime
        self._device: list[int] = []
        self._pinned: list[NDArray[np.uint8]] = []

    def device(self, nbytes: int) -> int:
        address = self._runtime.allocate(nbytes)
        self._device.append(address)
        return address

    def pinned(self, nbytes: int) -> NDArray[np.uint8]:
        array = self._runtime.allocate_pinned(nbytes)
        self._pinned.append(array)
        return array

    def close(self) -> None:
        """Errors are not told: a device that is lost has lost its memory too."""
        for address in self._device:
            with contextlib.suppress(CudaError):
                self._runtime.free(address)
        for array in self._pinned:
            with contextlib.suppress(CudaError):
                self._runtime.free_pinned(array)
        self._device.clear()
        self._pinned.clear()


class RowUpload:
    """Brings rows to the device: those in pinned memory from where they lie, one copy for each block of
    neighbours; others through a pinned buffer of this context's own, all in one copy."""

    def __init__(self, runtime: CudaRuntime, pinned: PinnedRows, staging: NDArray[np.uint8]) -> None:
        self._runtime = runtime
        self._pinned = pinned
        self._staging = staging
        self._staging_address = staging.ctypes.data

    def enqueue(self, runs: Sequence[Array], target: int, stream: int) -> None:
        """Copy `runs`, C-contiguous arrays, one after the other to `target`. The staging buffer is free:
        whatever was copied from it before has been waited for."""
        if all(self._pinned.hold(run.ctypes.data, run.nbytes) for run in runs):
            for run in runs:
                self._runtime.upload(target, run.ctypes.data, run.nbytes, stream)
                target += run.nbytes
            return
        filled = 0
        for run in runs:
            np.copyto(self._staging[filled : filled + run.nbytes], run.reshape(-1).view(np.uint8))
            filled += run.nbytes
        self._runtime.upload(target, self._staging_address, filled, stream)
