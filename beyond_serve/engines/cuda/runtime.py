"""One GPU, as the threads that use it see it; the seam behind which tests put a device of their own.

Handles are CUDA's own, as ints, so that TensorRT, PyTorch and our kernels can share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """capability: (major, minor). memory_bytes: in all, used or not."""

    index: int
    name: str
    capability: tuple[int, int]
    memory_bytes: int


class CudaError(Exception):
    """A call that CUDA refused. Never leaves the engines: `cuda.errors` makes it ours.

    Attributes:
        code: its cudaError_t.
        name: that code's name, as in cudaErrorMemoryAllocation.
        call: what failed, in words or as the call's name.
    """

    def __init__(self, code: int, name: str, call: str) -> None:
        super().__init__(f"{call}: {name} ({code})")
        self.code = code
        self.name = name
        self.call = call


class CaptureError(Exception):
    """Work could not be recorded as a CUDA graph; it can still be run eagerly."""


class CudaRuntime(Protocol):
    """Calls of one device. Every method may raise CudaError; none but `wait`, `synchronize` and the
    allocations blocks. Threads call `bind` once before anything else."""

    @property
    def facts(self) -> DeviceFacts: ...

    def bind(self) -> None:
        """Make the device the calling thread's."""
        ...

    def create_stream(self) -> int:
        """A stream that does not wait for the legacy default stream."""
        ...

    def destroy_stream(self, stream: int) -> None: ...

    def synchronize(self, stream: int) -> None:
        """Wait, with the GIL released, for all that is on the stream."""
        ...

    def create_event(self) -> int:
        """An event that keeps its time, and on which threads sleep rather than spin."""
        ...

    def destroy_event(self, event: int) -> None: ...

    def record(self, event: int, stream: int) -> None: ...

    def wait(self, event: int) -> None:
        """Sleep, with the GIL released, until the event has happened."""
        ...

    def elapsed_ns(self, since: int, until: int) -> int:
        """Between two events that have happened."""
        ...

    def allocate(self, nbytes: int) -> int:
        """Device memory, aligned to 256 bytes."""
        ...

    def free(self, address: int) -> None: ...

    def allocate_pinned(self, nbytes: int) -> NDArray[np.uint8]:
        """Host memory [nbytes] that the device reads and writes by itself. Its owner calls `free_pinned`."""
        ...

    def free_pinned(self, array: NDArray[np.uint8]) -> None: ...

    def pin(self, array: NDArray[np.uint8]) -> None:
        """Lock memory that is already there, for copies that do not wait."""
        ...

    def unpin(self, array: NDArray[np.uint8]) -> None: ...

    def upload(self, target: int, source: int, nbytes: int, stream: int) -> None:
        """Copy pinned host memory to the device, in the stream's order."""
        ...

    def download(self, target: int, source: int, nbytes: int, stream: int) -> None:
        """Copy device memory to pinned host memory, in the stream's order."""
        ...

    def begin_capture(self, stream: int) -> None:
        """Record the stream instead of running it; other threads' calls are not concerned (thread-local)."""
        ...

    def end_capture(self, stream: int) -> int:
        """The recorded work as an executable graph, already on the device."""
        ...

    def launch(self, graph: int, stream: int) -> None: ...

    def destroy_graph(self, graph: int) -> None: ...

    def load_kernels(self, cubin: bytes, names: Sequence[str]) -> dict[str, int]:
        """Functions of a compiled module, by name. They live as long as the process."""
        ...

    def launch_kernel(
        self,
        function: int,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[tuple[object, type]],
        stream: int,
    ) -> None:
        """
        Args:
            arguments: each value with its ctypes type.
        """
        ...

    def memory(self) -> tuple[int, int]:
        """Bytes (free, in all)."""
        ...

    def last_error(self) -> CudaError | None:
        """What an asynchronous call left behind; None if all is well."""
        ...

    def reset(self) -> None:
        """Give up everything this process has on the device; its memory is free for others."""
        ...
