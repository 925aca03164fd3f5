"""`CudaRuntime` over NVIDIA's own bindings (the package cuda-bindings), which release the GIL in every call.

Never a Python function in a host callback: CUDA runs those under a lock of its own, and a thread that holds
the GIL and waits for that lock would never give it back (cuda-python issue 517, numba-cuda issue 2952).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.cuda.probe import cuda_devices, require_device
from beyond_serve.engines.cuda.runtime import CudaError, CudaRuntime, DeviceFacts
from beyond_serve.engines.foreign import one_line
from beyond_serve.errors import ModelLoadError

_SUCCESS = 0


def open_runtime(device: str) -> CudaRuntime:
    """The runtime of "cuda:N".

    Raises:
        ModelLoadError: there is no driver, no such device, or no cuda-bindings.
    """
    index = require_device(device)
    try:
        runtime: Any = importlib.import_module("cuda.bindings.runtime")
        driver: Any = importlib.import_module("cuda.bindings.driver")
    except ImportError as error:
        raise ModelLoadError(
            f"the package cuda-bindings cannot be imported: {one_line(error)}", "pip install cuda-bindings"
        ) from error
    try:
        return BoundRuntime(runtime, driver, index, cuda_devices()[index])
    except CudaError as error:
        raise ModelLoadError(f"the device {device} cannot be used: {error}", "see nvidia-smi") from error


class BoundRuntime:
    """One device through cuda.bindings. State: the buffers behind pinned arrays; CUDA keeps the rest.

    Args:
        runtime, driver: the modules cuda.bindings.runtime and .driver.
    """

    def __init__(self, runtime: Any, driver: Any, index: int, name: str) -> None:
        self._cuda = runtime
        self._driver = driver
        self._index = index
        self.bind()
        attribute = runtime.cudaDeviceAttr
        major, minor = (
            self._value("cudaDeviceGetAttribute", which, index)
            for which in (
                attribute.cudaDevAttrComputeCapabilityMajor,
                attribute.cudaDevAttrComputeCapabilityMinor,
            )
        )
        _, total = self.memory()
        self.facts = DeviceFacts(index, name, (int(major), int(minor)), total)
        self._to_device = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._to_host = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost

    def _values(self, call: str, *arguments: object) -> tuple[Any, ...]:
        code, *values = getattr(self._cuda, call)(*arguments)
        if code != _SUCCESS:
            raise self._error(int(code), call)
        return tuple(values)

    def _value(self, call: str, *arguments: object) -> Any:
        (value,) = self._values(call, *arguments)
        return value

    def _error(self, code: int, call: str) -> CudaError:
        try:
            name = str(self._cuda.cudaError_t(code).name)
        except ValueError:  # newer than the bindings
            name = "an error without a name"
        return CudaError(code, name, call)

    def _driven(self, call: str, *arguments: object) -> tuple[Any, ...]:
        code, *values = getattr(self._driver, call)(*arguments)
        if code != _SUCCESS:
            raise CudaError(int(code), str(getattr(code, "name", code)), call)
        return tuple(values)

    def bind(self) -> None:
        self._values("cudaSetDevice", self._index)

    def create_stream(self) -> int:
        return int(self._value("cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking))

    def destroy_stream(self, stream: int) -> None:
        self._values("cudaStreamDestroy", stream)

    def synchronize(self, stream: int) -> None:
        self._values("cudaStreamSynchronize", stream)

    def create_event(self) -> int:
        return int(self._value("cudaEventCreateWithFlags", self._cuda.cudaEventBlockingSync))

    def destroy_event(self, event: int) -> None:
        self._values("cudaEventDestroy", event)

    def record(self, event: int, stream: int) -> None:
        self._values("cudaEventRecord", event, stream)

    def wait(self, event: int) -> None:
        self._values("cudaEventSynchronize", event)

    def elapsed_ns(self, since: int, until: int) -> int:
        milliseconds: float = self._value("cudaEventElapsedTime", since, until)
        return round(milliseconds * 1e6)

    def allocate(self, nbytes: int) -> int:
        return int(self._value("cudaMalloc", max(nbytes, 1)))

    def free(self, address: int) -> None:
        self._values("cudaFree", address)

    def allocate_pinned(self, nbytes: int) -> NDArray[np.uint8]:
        address = int(self._value("cudaHostAlloc", max(nbytes, 1), self._cuda.cudaHostAllocPortable))
        return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))

    def free_pinned(self, array: NDArray[np.uint8]) -> None:
        self._values("cudaFreeHost", array.ctypes.data)

    def pin(self, array: NDArray[np.uint8]) -> None:
        self._values("cudaHostRegister", array.ctypes.data, array.nbytes, self._cuda.cudaHostRegisterPortable)

    def unpin(self, array: NDArray[np.uint8]) -> None:
        self._values("cudaHostUnregister", array.ctypes.data)

    def upload(self, target: int, source: int, nbytes: int, stream: int) -> None:
        self._values("cudaMemcpyAsync", target, source, nbytes, self._to_device, stream)

    def download(self, target: int, source: int, nbytes: int, stream: int) -> None:
        self._values("cudaMemcpyAsync", target, source, nbytes, self._to_host, stream)

    def begin_capture(self, stream: int) -> None:
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._values("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: int) -> int:
        graph = self._value("cudaStreamEndCapture", stream)
        try:
            executable = int(self._value("cudaGraphInstantiate", graph, 0))
        finally:
            self._values("cudaGraphDestroy", graph)
        # The first launch would upload it otherwise, while a request waits.
        self._values("cudaGraphUpload", executable, stream)
        self._values("cudaStreamSynchronize", stream)
        return executable

    def launch(self, graph: int, stream: int) -> None:
        self._values("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        self._values("cudaGraphExecDestroy", graph)

    def load_kernels(self, cubin: bytes, names: Sequence[str]) -> dict[str, int]:
        (module,) = self._driven("cuModuleLoadData", cubin)
        return {name: int(self._driven("cuModuleGetFunction", module, name.encode())[0]) for name in names}

    def launch_kernel(
        self,
        function: int,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[tuple[object, type]],
        stream: int,
    ) -> None:
        values, kinds = zip(*arguments, strict=True)
        self._driven("cuLaunchKernel", function, *grid, *block, 0, stream, (values, kinds), 0)

    def memory(self) -> tuple[int, int]:
        free, total = self._values("cudaMemGetInfo")
        return int(free), int(total)

    def last_error(self) -> CudaError | None:
        (code,) = self._cuda.cudaGetLastError()
        return None if code == _SUCCESS else self._error(int(code), "an earlier call")

    def reset(self) -> None:
        # Choosing a device that is lost says so, and chooses it.
        with contextlib.suppress(CudaError):
            self.bind()
        self._values("cudaDeviceReset")
