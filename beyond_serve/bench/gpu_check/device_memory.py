"""Arrays to the device and back, for checks that call kernels by themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

from beyond_serve.engines.cuda.memory import ContextMemory
from beyond_serve.engines.cuda.runtime import CudaRuntime


class DeviceMemory(contextlib.ExitStack):
    """A stream and memory until the block ends. Blocks with each copy; used by one thread.

    Raises:
        CudaError: the device refuses.
    """

    def __init__(self, runtime: CudaRuntime) -> None:
        super().__init__()
        self._runtime = runtime
        self.stream = runtime.create_stream()
        self.callback(runtime.destroy_stream, self.stream)
        self._memory = ContextMemory(runtime)
        self.callback(self._memory.close)

    def room(self, nbytes: int) -> int:
        return self._memory.device(nbytes)

    def pinned(self, nbytes: int) -> NDArray[np.uint8]:
        return self._memory.pinned(nbytes)

    def send(self, array: NDArray[np.generic]) -> int:
        """Where it lies on the device."""
        address, staging = self.room(array.nbytes), self._memory.pinned(array.nbytes)
        staging[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self._runtime.upload(address, staging.ctypes.data, array.nbytes, self.stream)
        self._runtime.synchronize(self.stream)
        return address

    def fetch(self, address: int, dtype: DTypeLike, shape: Sequence[int]) -> NDArray[np.generic]:
        """After all that is on the stream."""
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        staging = self._memory.pinned(nbytes)
        self._runtime.download(staging.ctypes.data, address, nbytes, self.stream)
        self._runtime.synchronize(self.stream)
        return staging.view(dtype).reshape(shape).copy()
