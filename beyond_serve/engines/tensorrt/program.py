"""A plan as one context of ours runs it: an IExecutionContext for each batch size, on one stream."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from beyond_serve.engines.cuda.graphs import GraphReplay, capture_replay
from beyond_serve.engines.cuda.program import Buffers
from beyond_serve.engines.cuda.runtime import CaptureError, CudaError, CudaRuntime

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
        self._stream = stream
        self._buffers = buffers
        self._contexts: dict[int, _SizedContext] = {}
        self._memory = _ActivationMemory(network.runtime)
        try:
            # The largest first: its memory serves the others.
            self._sized(buffers.batch)
        except BaseException:
            self.close()
            raise

    def enqueue(self, rows: int) -> None:
        self._sized(max(rows, self._network.least_batch)).enqueue()

    def _sized(self, rows: int) -> _SizedContext:
        context = self._contexts.get(rows)
        if context is None:
            context = _SizedContext(self._network, self._stream, rows)
            try:
                context.set_up(self._buffers, self._memory)
            except BaseException:
                context.close()
                raise
            self._contexts[rows] = context
        return context

    def capture(self, enqueue: Callable[[], None]) -> GraphReplay:
        if not all(context.capturable for context in self._contexts.values()):
            raise CaptureError("the plan does work that a CUDA graph cannot hold")
        return capture_replay(self._network.runtime, self._stream, enqueue)

    def close(self) -> None:
        """Contexts before the memory that they use."""
        for context in self._contexts.values():
            context.close()
        self._contexts.clear()
        self._memory.close()


class _SizedContext:
    """An IExecutionContext, bound to one batch size, its buffers and its memory for good.

    TensorRT's object is held here alone: a local variable would live on in an error's traceback, beyond
    `close` and the memory.
    """

    def __init__(self, network: TensorRtNetwork, stream: int, rows: int) -> None:
        self._network = network
        self._stream = stream
        self._rows = rows
        self._context: Any = network.create_context()

    def set_up(self, buffers: Buffers, memory: _ActivationMemory) -> None:
        network, spec = self._network, self._network.spec
        checked = network.checked
        checked(
            self._context.set_optimization_profile_async(network.profile, self._stream),
            "choosing the profile",
        )
        shape = (self._rows, *spec.input.shape[1:])
        checked(self._context.set_input_shape(spec.input.name, shape), f"setting the shape {list(shape)}")
        self._context.set_device_memory(*memory.room(network.activation_bytes(self._context)))
        checked(
            self._context.set_tensor_address(spec.input.name, buffers.input), "setting the input's address"
        )
        for name, output in buffers.outputs.items():
            checked(self._context.set_tensor_address(name, output), f"setting the address of '{name}'")

    def enqueue(self) -> None:
        self._network.checked(self._context.execute_async_v3(self._stream), "running the plan")

    @property
    def capturable(self) -> bool:
        """Only TensorRT-RTX can be asked; others fail at the capture."""
        ask = getattr(self._context, "is_stream_capturable", None)
        return ask is None or ask(self._stream)

    def close(self) -> None:
        self._context = None


class _ActivationMemory:
    """Device memory that the contexts of one stream use one after the other."""

    def __init__(self, runtime: CudaRuntime) -> None:
        self._runtime = runtime
        self._blocks: list[tuple[int, int]] = []

    def room(self, nbytes: int) -> tuple[int, int]:
        """Address and size of what holds `nbytes`; (0, 0) for none.

        Raises:
            CudaError: the device has no room.
        """
        if not nbytes:
            return 0, 0
        for address, size in self._blocks:
            if size >= nbytes:
                return address, size
        # Contexts are bound to the blocks that are too small: these stay.
        address = self._runtime.allocate(nbytes)
        self._blocks.append((address, nbytes))
        return address, nbytes

    def close(self) -> None:
        for address, _ in self._blocks:
            with contextlib.suppress(CudaError):  # a device that is lost has lost its memory too
                self._runtime.free(address)
        self._blocks.clear()
