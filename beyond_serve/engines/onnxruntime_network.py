"""ONNX Runtime as a network on a GPU: bound to one context's stream and buffers, so that it copies nothing.

A session for each context: ONNX Runtime takes a stream of ours per session only (`user_compute_stream`), and
with a stream and an arena of its own no context waits for another. The price: each holds the weights once.

Its CUDA graphs stay off. It captures in global mode, which breaks other threads' allocations while it lasts
(an instance that restarts beside running ones), and graphs of ours around its calls would repeat the release
of host buffers that it puts onto the stream. Batches are enqueued call by call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from beyond_serve.engines.cuda.errors import OUT_OF_MEMORY
from beyond_serve.engines.cuda.program import Buffers, NetworkSpec, Replay
from beyond_serve.engines.cuda.runtime import CaptureError, CudaError, CudaRuntime
from beyond_serve.engines.cuda.tensors import row_layout
from beyond_serve.engines.foreign import one_line
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.errors import EngineError, ModelLoadError

_BFLOAT16 = 16  # of onnx.TensorProto, where NumPy has no type
_NO_MEMORY = re.compile(r"failed to allocate memory|out of memory|ALLOC_FAILED", re.IGNORECASE)
_STATUS = re.compile(r"^.*?\[ONNXRuntimeError\] : \d+ : \w+ : ", re.DOTALL)
_CUDA_FAILURE = re.compile(r"CUDA failure (\d+): ([^;]*)")

OpenSession = Callable[[list[Any]], Any]
Put = Callable[[int, Callable[[], None]], None]


def put_itself(stream: int, work: Callable[[], None]) -> None:
    """ONNX Runtime puts its work onto the session's stream when it is called."""
    work()


@dataclass(frozen=True, slots=True)
class Provider:
    """Where ONNX Runtime computes.

    Attributes:
        name: as in `onnxruntime.get_available_providers()`.
        device_type: what IO binding calls its memory: "cuda".
        device_id: N of "cuda:N".
        options: the provider's own, without the stream.
        put: brings a run onto a stream; tests put a CPU's runs onto a fake one's.
    """

    name: str
    device_type: str
    device_id: int
    options: Mapping[str, str] = field(default_factory=dict)
    put: Put = put_itself

    def on(self, stream: int) -> list[Any]:
        """The `providers` of a session that computes on `stream`; what it cannot is left to the CPU's."""
        if self.device_type == "cpu":
            return [self.name]
        return [(self.name, {**self.options, "user_compute_stream": str(stream)}), "CPUExecutionProvider"]


def cuda_provider(device_id: int, *, tf32: bool) -> Provider:
    """
    Args:
        tf32: round the factors of float32 products to 10 bits of fraction, as tensor cores do.
    """
    options = {
        "device_id": str(device_id),
        # The default tries every algorithm for each layer and each batch size, which makes starts slow.
        "cudnn_conv_algo_search": "HEURISTIC",
        # Growing by powers of two takes memory that other instances could use.
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "1" if tf32 else "0",
    }
    return Provider("CUDAExecutionProvider", "cuda", device_id, options)


@dataclass
class OnnxRuntimeNetwork:
    """The model's file, of which each program makes a session.

    Attributes:
        open_session: makes an InferenceSession on the given providers, without falling back to others.
    """

    runtime: CudaRuntime
    provider: Provider
    spec: NetworkSpec
    open_session: OpenSession

    def program(self, stream: int, buffers: Buffers) -> OnnxRuntimeProgram:
        return OnnxRuntimeProgram(self, stream, buffers)

    def close(self) -> None:
        """Nothing is kept on the device beside the programs."""


class OnnxRuntimeProgram:
    """One session, with a binding to the buffers for each batch size.

    Raises:
        CudaError: the device has no room for the weights and the largest batch, or is lost.
        ModelLoadError: the provider does not start here, or does not take the model.
        EngineError: the model fails for the largest batch.
    """

    def __init__(self, network: OnnxRuntimeNetwork, stream: int, buffers: Buffers) -> None:
        self._network = network
        self._stream = stream
        self._buffers = buffers
        self._bindings: dict[int, Any] = {}
        self._session: Any = self._opened()
        self._options = _unsynchronised()
        try:
            self._check()
            # The arena grows to what the largest batch needs now, or it is known now that it cannot.
            self.enqueue(buffers.batch)
            network.runtime.synchronize(stream)
        except BaseException:
            self.close()
            raise

    def enqueue(self, rows: int) -> None:
        binding = self._bindings.get(rows)
        if binding is None:
            binding = self._bindings[rows] = self._bound(rows)
        self._network.provider.put(self._stream, lambda: self._run(binding))

    def _run(self, binding: Any) -> None:
        try:
            self._session.run_with_iobinding(binding, self._options)
        except Exception as error:  # ONNX Runtime's errors have no common base but Exception
            failure = self._failure(error)
        else:
            return
        # Not from within: the foreign error's frames would keep the session, and its memory, alive.
        raise failure

    def _bound(self, rows: int) -> Any:
        spec, provider = self._network.spec, self._network.provider
        place = provider.device_type, provider.device_id
        binding = self._session.io_binding()
        given = spec.input
        binding.bind_input(
            given.name, *place, _element_type(given), [rows, *given.shape[1:]], self._buffers.input
        )
        for output in spec.outputs:
            shape, address = [rows, *output.shape[1:]], self._buffers.outputs[output.name]
            binding.bind_output(output.name, *place, _element_type(output), shape, address)
        return binding

    def _opened(self) -> Any:
        provider = self._network.provider
        try:
            return self._network.open_session(provider.on(self._stream))
        except Exception as error:  # as above
            failure, why = self._failure(error), _told(error)
        # Not from within, as in `_run`.
        if isinstance(failure, CudaError):
            raise failure
        raise ModelLoadError(
            f"ONNX Runtime cannot load the model on {provider.name}: {why}",
            "use --device cpu, or export the model again",
        )

    def _check(self) -> None:
        provider = self._network.provider
        if self._session.get_providers()[0] != provider.name:
            raise ModelLoadError(
                f"ONNX Runtime's {provider.name} does not start: CUDA's or cuDNN's libraries are missing, or "
                "of other versions than it was built for",
                'pip install "onnxruntime-gpu[cuda,cudnn]"',
            )
        where = self._session.get_input_memory_infos()[0].name.lower()
        if where == "cpu" != provider.device_type:
            # Binding would copy the input there, once and for all batches.
            raise ModelLoadError(
                f"the model's first node runs on the CPU: {provider.name} does not have it",
                "use --device cpu, or export the model with another opset",
            )

    def _failure(self, error: Exception) -> CudaError | EngineError:
        """What ONNX Runtime's words mean; where it names another library, CUDA is asked as well."""
        text = str(error)
        if named := _CUDA_FAILURE.search(text):
            return CudaError(int(named[1]), named[2].strip() or "an error without a name", "ONNX Runtime")
        if _NO_MEMORY.search(text):
            return CudaError(OUT_OF_MEMORY, "cudaErrorMemoryAllocation", f"ONNX Runtime ({_told(error)})")
        return self._network.runtime.last_error() or EngineError(f"ONNX Runtime failed: {_told(error)}")

    def capture(self, enqueue: Callable[[], None]) -> Replay:
        raise CaptureError("ONNX Runtime's calls release memory of their own, which a graph would repeat")

    def close(self) -> None:
        self._bindings.clear()
        self._session = None


def _told(error: Exception) -> str:
    """The error's own words, without the source lines and the status before them."""
    return one_line(Exception(_STATUS.sub("", str(error))))


def _unsynchronised() -> Any:
    """Runs that return as soon as their work is on the stream."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


def _element_type(spec: TensorSpec) -> Any:
    return _BFLOAT16 if spec.datatype == "BF16" else row_layout(spec).stored
