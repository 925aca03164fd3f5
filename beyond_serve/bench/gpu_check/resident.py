"""A network alone on the device: its input lies there already, nothing comes back."""

from __future__ import annotations

import contextlib
import time
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.cuda.memory import ContextMemory
from beyond_serve.engines.cuda.program import Buffers, Network
from beyond_serve.engines.cuda.runtime import CudaRuntime
from beyond_serve.engines.cuda.tensors import row_layout


class ResidentProgram:
    """One program with a CUDA graph for one batch size, on a stream of its own. A context manager; made,
    used and closed by one thread.

    Args:
        rows: the input [batch, …], as many rows as the graph is for.

    Raises:
        CudaError, EngineError: the device or the library refuses. CaptureError: there is no graph of it.
    """

    def __init__(self, runtime: CudaRuntime, network: Network, rows: NDArray[np.generic]) -> None:
        self.batch = len(rows)
        self._runtime = runtime
        self._open = contextlib.ExitStack()
        try:
            self._set_up(network, rows)
        except BaseException:
            self._open.close()
            raise

    def _set_up(self, network: Network, rows: NDArray[np.generic]) -> None:
        runtime, leave = self._runtime, self._open.callback
        self._stream = runtime.create_stream()
        leave(runtime.destroy_stream, self._stream)
        memory = ContextMemory(runtime)
        leave(memory.close)
        outputs = {
            spec.name: memory.device(self.batch * row_layout(spec).nbytes) for spec in network.spec.outputs
        }
        buffers = Buffers(self.batch, memory.device(rows.nbytes), outputs)
        program = network.program(self._stream, buffers)
        leave(program.close)
        staging = memory.pinned(rows.nbytes)
        staging[:] = np.ascontiguousarray(rows).reshape(-1).view(np.uint8)
        runtime.upload(buffers.input, staging.ctypes.data, rows.nbytes, self._stream)
        program.enqueue(self.batch)
        runtime.synchronize(self._stream)
        self._replay = program.capture(lambda: program.enqueue(self.batch))
        leave(self._replay.close)

    def seconds(self, times: int) -> float:
        """For `times` replays one after the other, until the last has ended."""
        replay, started = self._replay, time.perf_counter()
        for _ in range(times):
            replay()
        self._runtime.synchronize(self._stream)
        return time.perf_counter() - started

    def rate(self, times: int) -> float:
        """Rows a second."""
        return times * self.batch / self.seconds(times)

    def __enter__(self) -> ResidentProgram:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def random_rows(network: Network, batch: int, rng: np.random.Generator) -> NDArray[np.generic]:
    """Input for `network`: bytes for uint8, about normal numbers else, as its memory holds them.

    Raises:
        ModelLoadError: the input's shape is not known, or its type has no fixed size.
    """
    layout = row_layout(network.spec.input)
    shape = (batch, *layout.shape)
    if layout.stored.kind != "f" and not layout.bfloat16:
        return rng.integers(0, 256, shape).astype(layout.stored)
    values = rng.standard_normal(shape, np.float32)
    if layout.bfloat16:
        return (values.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return values.astype(layout.stored)
