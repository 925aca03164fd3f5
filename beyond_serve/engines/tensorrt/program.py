"""A plan as one context of ours runs it: an IExecutionContext for each batch size, on one stream."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from beyond_serve.engines.cuda.graphs import GraphReplay, capture_replay
from beyond_serve.engines.cuda.program import Buffers
from beyond_serve.engines.cuda.runtime import CaptureError, CudaError

if TYPE_CHECKING:
    from beyond_serve.engines.tensorrt.network import TensorRtNetwork


class TensorRtProgram:
    """Owned by one thread. Work of its contexts never overlaps, being on one stream, so they share one block
    of activation memory, as large as the largest batch needs.

    A context each: TensorRT calls a graph undefined whose context was changed after the capture, by another
    shape for instance.

    Raises:
        CudaError: no room on the device. EngineError: TensorRT refuses.
    """

    def __init__(self, network: TensorRtNetwork, stream: int, buffers: Buffers) -> None:
        self._network = network
        self._runtime = network.runtime
        self._stream = stream
        self._buffers = buffers
        self._contexts: dict[int, Any] = {}
        self._memory: list[tuple[int, int]] = []
        try:
            # The largest first: its memory serves the others.
            self._contexts[buffers.batch] = self._context(buffers.batch)
        except BaseException:
            self.close()
            raise

    def enqueue(self, rows: int) -> None:
        rows = max(rows, self._network.least_batch)
        context = self._contexts.get(rows)
        if context is None:
            context = self._contexts[rows] = self._context(rows)
        if not context.execute_async_v3(self._stream):
            raise self._network.refusal("running the plan")

    def _context(self, rows: int) -> Any:
        """Bound to its shape, its buffers and its memory for good."""
        network, stream, buffers = self._network, self._stream, self._buffers
        spec = network.spec
        context = network.create_context()
        checked = network.checked
        checked(context.set_optimization_profile_async(network.profile, stream), "choosing the profile")
        shape = (rows, *spec.input.shape[1:])
        checked(context.set_input_shape(spec.input.name, shape), f"setting the shape {list(shape)}")
        address, size = self._room(network.activation_bytes(context))
        context.set_device_memory(address, size)
        checked(context.set_tensor_address(spec.input.name, buffers.input), "setting the input's address")
        for name, output in buffers.outputs.items():
            checked(context.set_tensor_address(name, output), f"setting the address of '{name}'")
        return context

    def _room(self, nbytes: int) -> tuple[int, int]:
        """Address and size of memory for activations; (0, 0) where none are kept."""
        if not nbytes:
            return 0, 0
        for address, size in self._memory:
            if size >= nbytes:
                return address, size
        # Graphs may have been captured with the blocks that are too small: they stay.
        address = self._runtime.allocate(nbytes)
        self._memory.append((address, nbytes))
        return address, nbytes

    def capture(self, enqueue: Callable[[], None]) -> GraphReplay:
        for context in self._contexts.values():
            if hasattr(context, "is_stream_capturable") and not context.is_stream_capturable(self._stream):
                raise CaptureError("the plan does work that a CUDA graph cannot hold")
        return capture_replay(self._runtime, self._stream, enqueue)

    def close(self) -> None:
        """Contexts before the memory that they use."""
        self._contexts.clear()
        for address, _ in self._memory:
            with contextlib.suppress(CudaError):  # a device that is lost has lost its memory too
                self._runtime.free(address)
        self._memory.clear()
