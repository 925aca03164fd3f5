"""Record a stream's work as a CUDA graph, which one call then launches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from beyond_serve.engines.cuda.errors import is_sticky
from beyond_serve.engines.cuda.runtime import CaptureError, CudaError, CudaRuntime
from beyond_serve.errors import EngineError


class GraphReplay:
    """An executable graph on its stream; a `program.Replay`."""

    def __init__(self, runtime: CudaRuntime, graph: int, stream: int) -> None:
        self._runtime = runtime
        self._graph: int | None = graph
        self._stream = stream

    def __call__(self) -> None:
        assert self._graph is not None, "launched after it was closed"
        self._runtime.launch(self._graph, self._stream)

    def close(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            with contextlib.suppress(CudaError):  # a device that is lost has lost its graphs too
                self._runtime.destroy_graph(graph)


def capture_replay(runtime: CudaRuntime, stream: int, enqueue: Callable[[], None]) -> GraphReplay:
    """`Program.capture` for libraries whose work is nothing but calls on the stream.

    Raises:
        CaptureError: the work cannot be recorded; the stream is as before.
        CudaError: the device is lost.
    """
    try:
        runtime.begin_capture(stream)
        try:
            enqueue()
        except BaseException:
            with contextlib.suppress(CudaError):
                runtime.destroy_graph(runtime.end_capture(stream))
            raise
        return GraphReplay(runtime, runtime.end_capture(stream), stream)
    except CudaError as error:
        if is_sticky(error.code):
            raise
        raise CaptureError(str(error)) from error
    except EngineError as error:
        raise CaptureError(error.message) from error
