"""ONNX Runtime on the CPU, by surgery on the ONNX graph; float32, or whatever the model's file holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import BatchTiming
from beyond_serve.engines.batch_axis import Outputs, frees_cleanly, one_row_each, probe_rows, run_fixed
from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.cores import available_cores, threads_per_context
from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.engine_info import batch_warning, describe_engine
from beyond_serve.engines.foreign import one_line, require
from beyond_serve.engines.graph import IMAGE_INPUT, with_free_batch, with_image_input
from beyond_serve.engines.image_input import image_input
from beyond_serve.engines.onnx_file import load_proto
from beyond_serve.engines.protocol import IMAGE, BatchRows
from beyond_serve.engines.tensor_rows import DTYPES, stacked_tensors
from beyond_serve.engines.warm_up import warm_up
from beyond_serve.errors import EngineError, ModelLoadError

# Errors come as exceptions; the log would tell them twice, and tell of probes that may fail.
_FATAL_ONLY = 4


def session_options(folder: Path, threads: int) -> Any:
    """For a model whose external weights are in `folder`; what runs on the CPU has `threads` threads."""
    options = require("onnxruntime").SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    # Waiting threads would spin on cores that decoders need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    return options


class Session:
    """One ONNX Runtime session with one input. Contexts share it: `run` may be called by many threads."""

    def __init__(self, proto: Any, folder: Path, threads: int, input_name: str) -> None:
        ort = require("onnxruntime")
        self._session = ort.InferenceSession(
            proto.SerializeToString(), session_options(folder, threads), providers=["CPUExecutionProvider"]
        )
        self._input = input_name
        self._names = [value.name for value in self._session.get_outputs()]

    def run(self, rows: NDArray[np.generic]) -> Outputs:
        """Infer, with the GIL released. Contiguous rows are read where they lie, and outputs are new
        arrays, so binding them beforehand would save nothing on a CPU."""
        return dict(zip(self._names, self._session.run(None, {self._input: rows}), strict=True))


class OnnxRuntimeContext:
    """Owned by one thread; all that it holds is shared with the engine's other contexts."""

    def __init__(self, engine: OnnxRuntimeEngine, max_batch: int) -> None:
        self._engine: OnnxRuntimeEngine | None = engine
        self._fixed = engine.info.fixed_batch
        shape = engine.info.image_shape
        assert shape is not None
        session = engine.session(images=True)

        def run(size: int) -> None:
            one_row_each(session.run(np.zeros((size, *shape), np.uint8)), size)

        warm_up(run, max_batch, self._fixed)

    def infer(self, batch: BatchRows, timing: BatchTiming) -> Mapping[str, NDArray[np.generic]]:
        engine = self._engine
        if engine is None:
            raise EngineError("the context is closed")
        images = batch.key == IMAGE
        rows = batch.stacked() if images else stacked_tensors(batch, engine.info.inputs[0])
        session = engine.session(images=images)
        timing.copied_in = time.monotonic_ns()
        try:
            outputs = session.run(rows) if self._fixed is None else run_fixed(rows, self._fixed, session.run)
        except Exception as error:  # ONNX Runtime's errors have no common base but Exception
            raise EngineError(f"ONNX Runtime failed: {one_line(error)}") from error
        timing.inferred = timing.copied_out = time.monotonic_ns()
        return one_row_each(outputs, len(rows))

    def close(self) -> None:
        self._engine = None


class OnnxRuntimeEngine:
    """State: the model's graph, a session for images, one for tensors once asked for."""

    def __init__(self, config: EngineConfig, description: ModelDescription) -> None:
        path = Path(config.source)
        precision = choose_own_precision(config.precision, description)
        self._max_batch = config.max_batch
        self._folder = path.absolute().parent
        self._threads = shared_threads(config, available_cores())
        self._lock = threading.Lock()
        self._tensors: Session | None = None
        self._input = description.inputs[0].name
        self._proto: Any = load_proto(path)
        self._image, warnings = image_input(description, config.normalization, config.image_size)
        try:
            self._proto, batch = free_batch(
                self._proto,
                description,
                self._image.row_shape,
                lambda proto: self._session(proto, self._input),
            )
            if description.batch is not None:
                warnings += (batch_warning(description.batch, freed=batch is None),)
            self.info = describe_engine(
                description, "onnxruntime", precision, self._image.host_shape, batch, warnings
            )
            self._images: Session | None = self._session(
                with_image_input(self._proto, self._image), IMAGE_INPUT
            )
        except ModelLoadError:
            raise
        except Exception as error:  # ONNX Runtime's errors have no common base but Exception
            raise ModelLoadError(
                f"ONNX Runtime cannot load '{path}': {one_line(error)}", "try --engine openvino"
            ) from error

    def _session(self, proto: Any, input_name: str) -> Session:
        return Session(proto, self._folder, self._threads, input_name)

    def session(self, *, images: bool) -> Session:
        """
        Raises:
            EngineError: the engine is closed, or `prepare_tensors` was not called.
        """
        session = self._images if images else self._tensors
        if session is None:
            raise EngineError("the engine is closed" if images else "the engine is not prepared for tensors")
        return session

    def create_context(self) -> OnnxRuntimeContext:
        return OnnxRuntimeContext(self, self._max_batch)

    def adopt_rows(self, rows: NDArray[np.uint8]) -> None:
        """Read where they lie, as they are."""

    def prepare_tensors(self) -> None:
        with self._lock:
            if self._tensors is not None:
                return
            if self._proto is None:
                raise EngineError("the engine is closed")
            try:
                self._tensors = self._session(self._proto, self._input)
            except Exception as error:  # as above
                raise EngineError(
                    f"ONNX Runtime cannot load the model for tensors: {one_line(error)}"
                ) from error

    def close(self) -> None:
        with self._lock:
            self._proto = self._images = self._tensors = None


def free_batch(
    proto: Any,
    description: ModelDescription,
    row_shape: tuple[int, ...],
    open_session: Callable[[Any], Session],
) -> tuple[Any, int | None]:
    """`proto` with its batch axis freed if the answers stay the same, and None; else as it is, and the size.

    Args:
        row_shape: of one image in the model's own layout.
        open_session: makes a session of a graph whose input is the model's own.
    """
    batch = description.batch
    if batch is None:
        return proto, None
    own = open_session(proto)
    freed = with_free_batch(proto, description.inputs[0].name)
    rows = probe_rows(row_shape, DTYPES[description.datatype], batch + 1)
    try:
        run_freed = open_session(freed).run
    except Exception:  # the graph holds constants of the old batch
        return proto, batch
    if not frees_cleanly(rows, batch, own.run, run_freed):
        return proto, batch
    return freed, None


def choose_own_precision(requested: str, description: ModelDescription) -> str:
    """ONNX Runtime computes in what the file holds.

    Raises:
        ModelLoadError: another precision is asked for.
    """
    own = "int8" if description.quantized else "fp16" if description.datatype == "FP16" else "fp32"
    if requested in ("auto", own):
        return own
    raise ModelLoadError(
        f"onnxruntime runs this model in its own precision, {own}, and not in {requested}",
        "use --precision auto, or --engine openvino",
    )


def shared_threads(config: EngineConfig, cores: int) -> int:
    """Size of the one pool that all contexts share.

    ONNX Runtime counts the calling thread as one of the pool, and each context calls with its own:
    n contexts of t threads are n callers and n·t - n workers, which help whichever context runs.
    """
    total = config.instances * threads_per_context(config.threads, config.instances, cores)
    return max(1, total - config.instances + 1)
