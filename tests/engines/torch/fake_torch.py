"""The parts of PyTorch that the CUDA side calls, over a FakeRuntime's device.

What is put onto which stream in which order is real, what PyTorch does inside is not. No test with it says
that PyTorch itself works.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from beyond_serve.engines.cuda.runtime import CudaError
from tests.engines.cuda.fake_runtime import FakeRuntime

Model = Callable[[np.ndarray], list[np.ndarray]]


class OutOfMemoryError(RuntimeError):
    pass


class AcceleratorError(RuntimeError):
    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.error_code = code


class FakeTensor:
    """`array` is read and written when the device does the work, not before."""

    def __init__(self, torch: FakeTorch, array: np.ndarray) -> None:
        self.torch = torch
        self.array = array

    def view(self, *how: Any) -> FakeTensor:
        if isinstance(how[0], type):
            return FakeTensor(self.torch, self.array.view(how[0]))
        return FakeTensor(self.torch, self.array.reshape(how))

    def __getitem__(self, rows: slice) -> FakeTensor:
        return FakeTensor(self.torch, self.array[rows])

    def copy_(self, source: FakeTensor, non_blocking: bool = False) -> None:
        assert non_blocking, "a copy that waits would hold the instance's thread"

        def copy() -> None:
            self.array[...] = source.array

        self.torch.enqueue(copy)


class FakeGraph:
    def __init__(self, torch: FakeTorch) -> None:
        self.torch = torch
        self.handle: int | None = None

    def capture_begin(self, pool: object, capture_error_mode: str) -> None:
        assert capture_error_mode == "thread_local"
        self.torch.pools.append(pool)
        with self.torch.as_torch_errors():
            self.torch.runtime.begin_capture(self.torch.current())

    def capture_end(self) -> None:
        with self.torch.as_torch_errors():
            self.handle = self.torch.runtime.end_capture(self.torch.current())

    def replay(self) -> None:
        assert self.handle is not None
        with self.torch.as_torch_errors():
            self.torch.runtime.launch(self.handle, self.torch.current())

    def reset(self) -> None:
        handle, self.handle = self.handle, None
        if handle is not None:
            with self.torch.as_torch_errors():
                self.torch.runtime.destroy_graph(handle)


class FakeTorch:
    """
    Args:
        model: from the input's values to the outputs', as NumPy computes them.

    Attributes:
        loads: how each package was loaded. pools: of each capture. threads: that set their device.
        running: how often the model was put onto each stream.
        fails: raised by the next run of the model, if any.
    """

    float32, float16, uint8 = np.float32, np.float16, np.uint8
    __version__ = "2.13.0+fake"
    OutOfMemoryError = OutOfMemoryError

    def __init__(self, runtime: FakeRuntime, model: Model) -> None:
        self.runtime = runtime
        self.model = model
        self.loads: list[dict[str, Any]] = []
        self.pools: list[object] = []
        self.threads: list[int] = []
        self.running: dict[int, int] = {}
        self.fails: list[Exception] = []
        self._current = threading.local()
        self._inference = threading.local()
        self.backends = SimpleNamespace(
            cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True)),
            cudnn=SimpleNamespace(allow_tf32=True, benchmark=False),
        )
        self._inductor = SimpleNamespace(aoti_load_package=self._load)
        self.cuda = SimpleNamespace(
            ExternalStream=lambda stream, device: SimpleNamespace(cuda_stream=stream, device=device),
            stream=self._stream,
            device=lambda index: contextlib.nullcontext(),
            set_device=lambda index: self.threads.append(threading.get_ident()),
            synchronize=lambda index: None,
            empty_cache=lambda: None,
            graph_pool_handle=object,
            CUDAGraph=lambda: FakeGraph(self),
        )

    def current(self) -> int | None:
        return getattr(self._current, "stream", None)

    def enqueue(self, work: Callable[[], None]) -> None:
        """Onto the current stream; at once where there is none, as the legacy stream's waiters see it."""
        stream = self.current()
        if stream is None:
            work()
            return
        with self.as_torch_errors():
            self.runtime.do(stream, work)

    @contextlib.contextmanager
    def as_torch_errors(self) -> Iterator[None]:
        try:
            yield
        except CudaError as error:
            raise AcceleratorError(f"CUDA error: {error.name}", error.code) from error

    @contextlib.contextmanager
    def _stream(self, stream: Any) -> Iterator[None]:
        before, self._current.stream = self.current(), stream.cuda_stream
        try:
            yield
        finally:
            self._current.stream = before

    @contextlib.contextmanager
    def inference_mode(self) -> Iterator[None]:
        self._inference.on = True
        try:
            yield
        finally:
            self._inference.on = False

    def device(self, kind: str, index: int) -> str:
        return f"{kind}:{index}"

    def as_tensor(self, memory: Any, device: str) -> FakeTensor:
        about = memory.__cuda_array_interface__
        assert about["typestr"] == "|u1"
        return FakeTensor(self, self.runtime.view(about["data"][0], np.uint8, about["shape"]))

    def zeros(self, shape: tuple[int, ...], dtype: type, device: str) -> FakeTensor:
        return FakeTensor(self, np.zeros(shape, dtype))

    def _load(self, path: str, run_single_threaded: bool, device_index: int) -> Any:
        self.loads.append({"single_threaded": run_single_threaded, "device": device_index})
        return SimpleNamespace(loader=SimpleNamespace(boxed_run=self._run))

    def _run(self, inputs: list[FakeTensor]) -> list[FakeTensor]:
        assert self._inference.on, "gradients would be recorded"
        if self.fails:
            raise self.fails.pop(0)
        stream = self.current() or 0
        self.running[stream] = self.running.get(stream, 0) + 1
        given = inputs[0].array
        results = [np.empty_like(values) for values in self.model(np.zeros_like(given))]

        def compute() -> None:
            for result, values in zip(results, self.model(given), strict=True):
                result[...] = values

        self.enqueue(compute)
        return [FakeTensor(self, result) for result in results]
