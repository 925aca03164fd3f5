"""A GPU of host memory: stricter than a real one, and deterministic.

Work on a stream waits until somebody waits for it, so that reading results too early, or writing into
memory that a copy still needs, gives wrong bytes in every run and not in one of a thousand. Copies must
come from pinned memory and stay inside allocations; while a stream is captured its thread may not allocate
or wait.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence

import numpy as np

from beyond_serve.engines.cuda.errors import is_sticky
from beyond_serve.engines.cuda.runtime import CudaError, DeviceFacts

INVALID, OUT_OF_MEMORY, NOT_READY, ILLEGAL_ADDRESS, CAPTURE_UNSUPPORTED = 1, 2, 600, 700, 900
NAMES = {
    1: "cudaErrorInvalidValue",
    2: "cudaErrorMemoryAllocation",
    600: "cudaErrorNotReady",
    700: "cudaErrorIllegalAddress",
    719: "cudaErrorLaunchFailure",
    900: "cudaErrorStreamCaptureUnsupported",
}
COPY_NS = 10_000
Work = Callable[[], None]


def cuda_error(code: int, call: str) -> CudaError:
    return CudaError(code, NAMES.get(code, "cudaErrorUnknown"), call)


class FakeRuntime:
    """State: allocations, streams of waiting work, events, graphs, scripted failures, a clock in ns.

    Attributes:
        now_ns: the device's clock; copies take COPY_NS, other work what `do` says.
        calls: every call that a steady state must not make, by name.
    """

    def __init__(self, memory_bytes: int = 1 << 30, *, index: int = 0, name: str = "Fake GPU") -> None:
        self.facts = DeviceFacts(index, name, (9, 0), memory_bytes)
        self.now_ns = 0
        self.calls: list[str] = []
        self._lock = threading.RLock()
        self._device: dict[int, np.ndarray] = {}
        self._pinned: dict[int, int] = {}
        self._held: dict[int, np.ndarray] = {}
        self._streams: dict[int, list[Work]] = {}
        self._events: dict[int, tuple[int, int | None]] = {}
        self._graphs: dict[int, list[Work]] = {}
        self._capturing: dict[int, tuple[int, list[Work]]] = {}
        self._failures: dict[str, list[int]] = {}
        self._lost: CudaError | None = None
        self._handles = 1000
        self.bound: set[int] = set()

    # -- scripting -------------------------------------------------------------------------------------

    def fail_next(self, call: str, code: int) -> None:
        """The next `call` (a method's name) fails; after a sticky code everything does, until `reset`."""
        self._failures.setdefault(call, []).append(code)

    def do(self, stream: int, work: Work, took_ns: int = 0) -> None:
        """Put `work` onto a stream, as a library does; recorded while the stream is captured."""
        self._enter("do")

        def run() -> None:
            work()
            self.now_ns += took_ns

        self._push(stream, run)

    def view(self, address: int, dtype: np.typing.DTypeLike, shape: Sequence[int]) -> np.ndarray:
        """Device memory as an array that writes through. IndexError outside of what was allocated."""
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._check(address, nbytes)
        buffer = (ctypes.c_uint8 * nbytes).from_address(address)
        return np.frombuffer(buffer, np.uint8).view(dtype).reshape(shape)

    @property
    def allocated_bytes(self) -> int:
        return sum(array.nbytes for array in self._device.values())

    @property
    def alive(self) -> int:
        """What somebody still has to give back: device and pinned memory, streams, events, graphs."""
        return sum(map(len, (self._device, self._pinned, self._streams, self._events, self._graphs)))

    # -- the protocol ----------------------------------------------------------------------------------

    def bind(self) -> None:
        self._enter("bind")
        self.bound.add(threading.get_ident())

    def create_stream(self) -> int:
        self._enter("create_stream", changes=True)
        self._streams[handle := self._handle()] = []
        return handle

    def destroy_stream(self, stream: int) -> None:
        self._enter("destroy_stream", changes=True)
        del self._streams[stream]

    def synchronize(self, stream: int) -> None:
        self._enter("synchronize", changes=True)
        self._drain(stream)

    def create_event(self) -> int:
        self._enter("create_event", changes=True)
        self._events[handle := self._handle()] = (0, None)
        return handle

    def destroy_event(self, event: int) -> None:
        self._enter("destroy_event", changes=True)
        del self._events[event]

    def record(self, event: int, stream: int) -> None:
        self._enter("record")
        self._events[event] = (stream, None)

        def happen() -> None:
            self._events[event] = (stream, self.now_ns)

        self._push(stream, happen)

    def wait(self, event: int) -> None:
        self._enter("wait")
        self._not_while_capturing("wait")
        self._drain(self._events[event][0])

    def elapsed_ns(self, since: int, until: int) -> int:
        self._enter("elapsed_ns")
        (_, first), (_, second) = self._events[since], self._events[until]
        if first is None or second is None:
            raise cuda_error(NOT_READY, "elapsed_ns")
        return second - first

    def allocate(self, nbytes: int) -> int:
        self._enter("allocate", changes=True)
        if self.allocated_bytes + nbytes > self.facts.memory_bytes:
            raise cuda_error(OUT_OF_MEMORY, "allocate")
        # What is there before the first write must not look like zeros.
        memory = np.full(nbytes + 256, 0xA5, np.uint8)
        address = -(-memory.ctypes.data // 256) * 256
        self._device[address] = memory[address - memory.ctypes.data :][:nbytes]
        self._held[address] = memory
        return address

    def free(self, address: int) -> None:
        self._enter("free", changes=True)
        del self._device[address], self._held[address]

    def allocate_pinned(self, nbytes: int) -> np.ndarray:
        self._enter("allocate_pinned", changes=True)
        array = np.full(nbytes, 0x5A, np.uint8)
        self._pinned[array.ctypes.data] = nbytes
        return array

    def free_pinned(self, array: np.ndarray) -> None:
        self._enter("free_pinned", changes=True)
        del self._pinned[array.ctypes.data]

    def pin(self, array: np.ndarray) -> None:
        self._enter("pin", changes=True)
        self._pinned[array.ctypes.data] = array.nbytes

    def unpin(self, array: np.ndarray) -> None:
        self._enter("unpin", changes=True)
        del self._pinned[array.ctypes.data]

    def upload(self, target: int, source: int, nbytes: int, stream: int) -> None:
        self._enter("upload")
        self._copy(target, source, nbytes, stream, host=source, device=target)

    def download(self, target: int, source: int, nbytes: int, stream: int) -> None:
        self._enter("download")
        self._copy(target, source, nbytes, stream, host=target, device=source)

    def begin_capture(self, stream: int) -> None:
        self._enter("begin_capture", changes=True)
        if self._streams[stream]:
            raise cuda_error(INVALID, "begin_capture")
        self._capturing[stream] = (threading.get_ident(), [])

    def end_capture(self, stream: int) -> int:
        # What ends a capture is heard also when it fails.
        _, recorded = self._capturing.pop(stream)
        self._enter("end_capture", changes=True)
        self._graphs[handle := self._handle()] = recorded
        return handle

    def launch(self, graph: int, stream: int) -> None:
        self._enter("launch")
        for work in self._graphs[graph]:
            self._push(stream, work)

    def destroy_graph(self, graph: int) -> None:
        self._enter("destroy_graph", changes=True)
        del self._graphs[graph]

    def load_kernels(self, cubin: bytes, names: Sequence[str]) -> dict[str, int]:
        self._enter("load_kernels", changes=True)
        return {name: self._handle() for name in names}

    def launch_kernel(self, function, grid, block, arguments, stream) -> None:
        self._enter("launch_kernel")

    def memory(self) -> tuple[int, int]:
        self._enter("memory")
        return self.facts.memory_bytes - self.allocated_bytes, self.facts.memory_bytes

    def last_error(self) -> CudaError | None:
        return self._lost

    def reset(self) -> None:
        self.calls.append("reset")
        self._lost = None
        self._streams.clear(), self._events.clear(), self._graphs.clear(), self._capturing.clear()
        self._device.clear(), self._held.clear(), self._pinned.clear()

    # -- inside ----------------------------------------------------------------------------------------

    def _enter(self, call: str, *, changes: bool = False) -> None:
        with self._lock:
            if changes:
                self.calls.append(call)
            if self._lost is not None:
                raise cuda_error(self._lost.code, call)
            if self._failures.get(call):
                error = cuda_error(self._failures[call].pop(0), call)
                if is_sticky(error.code):
                    self._lost = error
                raise error
        if changes and call != "end_capture":
            self._not_while_capturing(call)

    def _not_while_capturing(self, call: str) -> None:
        if any(thread == threading.get_ident() for thread, _ in self._capturing.values()):
            raise cuda_error(CAPTURE_UNSUPPORTED, call)

    def _handle(self) -> int:
        with self._lock:
            self._handles += 1
            return self._handles

    def _push(self, stream: int, work: Work) -> None:
        if stream in self._capturing:
            self._capturing[stream][1].append(work)
        else:
            self._streams[stream].append(work)

    def _drain(self, stream: int) -> None:
        waiting, self._streams[stream] = self._streams[stream], []
        for work in waiting:
            work()

    def _copy(self, target: int, source: int, nbytes: int, stream: int, *, host: int, device: int) -> None:
        self._check(device, nbytes)
        if not any(start <= host and host + nbytes <= start + size for start, size in self._pinned.items()):
            raise cuda_error(INVALID, "a copy of memory that is not pinned")

        def copy() -> None:
            ctypes.memmove(target, source, nbytes)
            self.now_ns += COPY_NS

        self._push(stream, copy)

    def _check(self, address: int, nbytes: int) -> None:
        for start, array in self._device.items():
            if start <= address and address + nbytes <= start + array.nbytes:
                return
        raise cuda_error(ILLEGAL_ADDRESS, f"{nbytes} bytes at {address:#x}")
