"""A .pt2 model as one context runs it: on the context's stream, between the context's buffers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from beyond_serve.engines.cuda.errors import is_sticky
from beyond_serve.engines.cuda.program import Buffers, NetworkSpec
from beyond_serve.engines.cuda.runtime import CaptureError, CudaError
from beyond_serve.engines.cuda.tensors import row_layout
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.engines.torch.cuda_errors import translated
from beyond_serve.engines.torch.image_prefix import DTYPES
from beyond_serve.errors import EngineError


class Runs(Protocol):
    """What a program needs of its network."""

    @property
    def spec(self) -> NetworkSpec: ...

    def run(self, values: Any) -> list[Any]: ...


class DeviceBytes:
    """Device memory of somebody else, as PyTorch takes it."""

    def __init__(self, address: int, nbytes: int) -> None:
        self.__cuda_array_interface__ = {
            "shape": (nbytes,),
            "typestr": "|u1",
            "data": (address, False),
            "strides": None,
            "version": 3,
        }


class TorchReplay:
    """A recorded graph on its stream."""

    def __init__(self, torch: Any, graph: Any, stream: Any) -> None:
        self._torch = torch
        self._graph = graph
        self._stream = stream

    def __call__(self) -> None:
        # PyTorch launches graphs on the thread's current stream.
        with translated(self._torch, "launching a graph"), self._torch.cuda.stream(self._stream):
            self._graph.replay()

    def close(self) -> None:
        with contextlib.suppress(CudaError, EngineError), translated(self._torch, "closing a graph"):
            self._graph.reset()


class TorchProgram:
    """State: tensors over the context's buffers; a pool of PyTorch's memory that only this program's graphs
    use, which therefore cannot be overwritten by others'. Graphs of one program share it: they run one after
    the other."""

    def __init__(self, torch: Any, network: Runs, index: int, stream: int, buffers: Buffers) -> None:
        torch.cuda.set_device(index)
        self._torch = torch
        self._network = network
        self._device = torch.device("cuda", index)
        self._stream = torch.cuda.ExternalStream(stream, device=self._device)
        spec = network.spec
        self._input = self._over(spec.input, buffers.input, buffers.batch)
        self._outputs = [self._over(each, buffers.outputs[each.name], buffers.batch) for each in spec.outputs]
        self._pool: Any = None

    def _over(self, spec: TensorSpec, address: int, batch: int) -> Any:
        """A tensor [batch, …] over device memory."""
        layout = row_layout(spec)
        flat = self._torch.as_tensor(DeviceBytes(address, batch * layout.nbytes), device=self._device)
        dtype = getattr(self._torch, DTYPES[spec.datatype])
        return flat.view(dtype).view(batch, *layout.shape)

    def enqueue(self, rows: int) -> None:
        torch = self._torch
        with (
            translated(torch, f"a batch of {rows}"),
            torch.inference_mode(),
            torch.cuda.stream(self._stream),
        ):
            results = self._network.run(self._input[:rows])
            for buffer, result in zip(self._outputs, results, strict=True):
                buffer[:rows].copy_(result, non_blocking=True)

    def capture(self, enqueue: Callable[[], None]) -> TorchReplay:
        """PyTorch's own capture, and not the runtime's: its allocator must know that memory handed out
        meanwhile belongs to the graph. Not `torch.cuda.graph`, which waits for the whole device first and
        empties the allocator's cache, both of which other instances would feel."""
        torch = self._torch
        try:
            with translated(torch, "capturing a graph"), torch.cuda.stream(self._stream):
                if self._pool is None:
                    self._pool = torch.cuda.graph_pool_handle()
                graph = torch.cuda.CUDAGraph()
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    enqueue()
                except BaseException:
                    # The stream must leave the capture; that this fails as well tells nothing new.
                    with contextlib.suppress(RuntimeError):
                        graph.capture_end()
                    raise
                graph.capture_end()
        except CudaError as error:
            if is_sticky(error.code):
                raise
            raise CaptureError(str(error)) from error
        except EngineError as error:
            raise CaptureError(error.message) from error
        return TorchReplay(torch, graph, self._stream)

    def close(self) -> None:
        """Its graphs have been closed."""
        self._pool = None
        self._input, self._outputs = None, []
