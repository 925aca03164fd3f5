"""The calls of NVIDIA's bindings, as far as they can be told without a GPU: they take what we give them."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from beyond_serve.engines.cuda import probe
from beyond_serve.engines.cuda.bindings import BoundRuntime, open_runtime
from beyond_serve.engines.cuda.probe import Driver, cuda_devices, require_device
from beyond_serve.engines.cuda.runtime import CudaError
from beyond_serve.errors import ModelLoadError

runtime = pytest.importorskip("cuda.bindings.runtime")
driver = pytest.importorskip("cuda.bindings.driver")
without_gpu = pytest.mark.skipif(bool(cuda_devices()), reason="these calls would do something here")
BYTES = np.zeros(64, np.uint8)
CALLS = {
    "bind": (),
    "create_stream": (),
    "destroy_stream": (77,),
    "synchronize": (77,),
    "create_event": (),
    "destroy_event": (78,),
    "record": (78, 77),
    "wait": (78,),
    "elapsed_ns": (78, 79),
    "allocate": (100,),
    "free": (4096,),
    "allocate_pinned": (100,),
    "free_pinned": (BYTES,),
    "pin": (BYTES,),
    "unpin": (BYTES,),
    "upload": (4096, 8192, 10, 77),
    "download": (4096, 8192, 10, 77),
    "begin_capture": (77,),
    "end_capture": (77,),
    "launch": (80, 77),
    "destroy_graph": (80,),
    "memory": (),
    "reset": (),
}


@pytest.fixture
def bound() -> BoundRuntime:
    made = BoundRuntime.__new__(BoundRuntime)
    made._cuda, made._driver, made._index = runtime, driver, 0
    made._to_device = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
    made._to_host = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
    return made


@without_gpu
@pytest.mark.parametrize("call", CALLS)
def test_the_bindings_take_our_arguments(bound: BoundRuntime, call: str) -> None:
    with pytest.raises(CudaError) as told:
        getattr(bound, call)(*CALLS[call])
    assert told.value.name in ("cudaErrorInsufficientDriver", "cudaErrorNoDevice", "cudaErrorInvalidValue")


@without_gpu
@pytest.mark.parametrize(
    "call",
    [
        lambda bound: bound.load_kernels(b"cubin", ["name"]),
        lambda bound: bound.launch_kernel(
            66, (1, 2, 3), (32, 1, 1), [(7, ctypes.c_void_p), (8, ctypes.c_uint), (8.0, ctypes.c_float)], 5
        ),
    ],
)
def test_the_drivers_calls_take_our_arguments(bound: BoundRuntime, call) -> None:
    # What is wrong with the arguments is told before the driver is looked for.
    with pytest.raises(Exception, match="NVIDIA driver library"):
        call(bound)


def test_an_error_without_a_name(bound: BoundRuntime) -> None:
    assert "without a name" in str(bound._error(98765, "cudaX"))


@without_gpu
def test_no_gpu_is_one_line() -> None:
    with pytest.raises(ModelLoadError, match="the device cuda:0 is not there: NVIDIA's driver") as told:
        open_runtime("cuda:0")
    assert "nvidia-smi" in (told.value.hint or "")


def test_a_device_beyond_the_last(monkeypatch) -> None:
    monkeypatch.setattr(probe, "driver", lambda: Driver(("A", "B"), ""))
    assert require_device("cuda:1") == 1
    assert require_device("cuda") == 0
    with pytest.raises(ModelLoadError, match="this machine has 2, up to cuda:1"):
        require_device("cuda:2")


class Recorder:
    """Stands for the modules: answers success, and what each call gives."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.answers = {
            "cudaDeviceGetAttribute": (9,),
            "cudaMemGetInfo": (5, 10),
            "cudaStreamCreateWithFlags": (runtime.cudaStream_t(1234),),
            "cudaEventCreateWithFlags": (runtime.cudaEvent_t(99),),
            "cudaEventElapsedTime": (0.25,),
            "cudaMalloc": (4096,),
            "cudaStreamEndCapture": ("graph",),
            "cudaGraphInstantiate": (runtime.cudaGraphExec_t(55),),
            "cuModuleLoadData": ("module",),
            "cuModuleGetFunction": (driver.CUfunction(66),),
        }

    def __getattr__(self, name: str):
        real = getattr(runtime, name, None) or getattr(driver, name)
        if isinstance(real, type) or not callable(real):
            return real

        def call(*arguments: object):
            self.calls.append((name, *arguments))
            return (runtime.cudaError_t.cudaSuccess, *self.answers.get(name, ()))

        return call


def test_handles_are_numbers_and_captures_are_thread_local() -> None:
    cuda = Recorder()
    made = BoundRuntime(cuda, cuda, 3, "Card")
    assert (made.facts.index, made.facts.name, made.facts.capability, made.facts.memory_bytes) == (
        3, "Card", (9, 9), 10,
    )  # fmt: skip
    assert ("cudaSetDevice", 3) in cuda.calls
    assert made.create_stream() == 1234
    assert made.create_event() == 99
    assert made.elapsed_ns(1, 2) == 250_000
    assert made.last_error() is None
    made.begin_capture(5)
    assert cuda.calls[-1][2] == runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    cuda.calls.clear()
    assert made.end_capture(5) == 55
    assert [name for name, *_ in cuda.calls] == [
        "cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphDestroy", "cudaGraphUpload",
        "cudaStreamSynchronize",
    ]  # fmt: skip
    assert made.load_kernels(b"cubin", ["a", "b"]) == {"a": 66, "b": 66}
    made.launch_kernel(66, (1, 2, 3), (4, 5, 6), [(7, ctypes.c_void_p), (8.0, ctypes.c_float)], 5)
    assert cuda.calls[-1] == (
        "cuLaunchKernel", 66, 1, 2, 3, 4, 5, 6, 0, 5, ((7, 8.0), (ctypes.c_void_p, ctypes.c_float)), 0,
    )  # fmt: skip
