"""OpenVINO on the CPU: the default for ONNX and OpenVINO IR.

One compiled model takes images (conversion, normalisation and layout inside its graph); once asked for,
a second takes the model's own tensors. Compiled models are not cached on disk: compiling takes about
0.1 s for a ResNet-50, and a cache would have to be placed, sized and kept true.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import BatchTiming
from beyond_serve.engines.batch_axis import frees_cleanly, one_row_each, probe_rows, run_fixed
from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.cores import available_cores, has_fast_bf16, threads_per_context
from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.engine_info import batch_warning, describe_engine
from beyond_serve.engines.foreign import one_line, require
from beyond_serve.engines.image_input import image_input
from beyond_serve.engines.ir_file import read_openvino
from beyond_serve.engines.openvino_graph import with_free_batch, with_image_input
from beyond_serve.engines.openvino_request import Compiler, Request
from beyond_serve.engines.precision import choose_precision, disagreement, probe_images
from beyond_serve.engines.protocol import IMAGE, BatchRows
from beyond_serve.engines.tensor_rows import DTYPES, stacked_tensors
from beyond_serve.engines.warm_up import warm_up
from beyond_serve.errors import EngineError, ModelLoadError


class OpenVinoContext:
    """State: an infer request for images, and one for tensors once needed. Owned by one thread."""

    def __init__(self, engine: OpenVinoEngine, max_batch: int) -> None:
        self._engine: OpenVinoEngine | None = engine
        self._fixed = engine.info.fixed_batch
        images = engine.image_request()
        self._images: Request | None = images
        self._tensors: Request | None = None
        shape = engine.info.image_shape
        assert shape is not None

        def run(size: int) -> None:
            one_row_each(images.run(np.zeros((size, *shape), np.uint8)), size)

        warm_up(run, max_batch, self._fixed)

    def infer(self, batch: BatchRows, timing: BatchTiming) -> Mapping[str, NDArray[np.generic]]:
        engine = self._engine
        if engine is None or self._images is None:
            raise EngineError("the context is closed")
        if batch.key == IMAGE:
            rows, request = batch.stacked(), self._images
        else:
            rows = stacked_tensors(batch, engine.info.inputs[0])
            if self._tensors is None:
                self._tensors = engine.tensor_request()
            request = self._tensors
        timing.copied_in = time.monotonic_ns()
        try:
            if self._fixed is None or len(rows) == self._fixed:
                request.start(rows)
                timing.inferred = time.monotonic_ns()
                outputs: Mapping[str, NDArray[np.generic]] = request.outputs()
            else:
                outputs = run_fixed(rows, self._fixed, request.run)
                timing.inferred = time.monotonic_ns()
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed: {one_line(error)}") from error
        timing.copied_out = time.monotonic_ns()
        return one_row_each(outputs, len(rows))

    def close(self) -> None:
        self._engine = None
        self._images = self._tensors = None


class OpenVinoEngine:
    """State: the model as read, its compiled forms. `prepare_tensors` may run beside contexts' work."""

    def __init__(self, config: EngineConfig, description: ModelDescription) -> None:
        self._max_batch = config.max_batch
        self._model: Any = read_openvino(Path(config.source))
        self._names = tuple(spec.name for spec in description.outputs)
        self._tensors: Any = None
        self._lock = threading.Lock()
        core = require("openvino").Core()
        threads = threads_per_context(config.threads, config.instances, available_cores())
        self._compiler = Compiler(core, config.instances, threads)
        self._image, warnings = image_input(description, config.normalization, config.image_size)
        precision = choose_precision(
            config.precision,
            quantized=description.quantized,
            fast_bf16=has_fast_bf16(),
            capabilities=core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
        )
        try:
            batch = self._freed_batch(description)
            if description.batch is not None:
                warnings += (batch_warning(description.batch, freed=batch is None),)
            self.info = describe_engine(
                description, "openvino", precision, self._image.host_shape, batch, warnings
            )
            self._images: Any = self._compile_images(precision)
        except RuntimeError as error:
            raise ModelLoadError(
                f"OpenVINO cannot compile '{config.source}': {one_line(error)}", "try --engine onnxruntime"
            ) from error

    def _freed_batch(self, description: ModelDescription) -> int | None:
        """Free a fixed batch axis in `self._model` if the answers stay the same; else the fixed size."""
        batch = description.batch
        if batch is None:
            return None
        shape = self._image.row_shape
        freed = with_free_batch(self._model, description.inputs[0].shape[1:], shape)
        if freed is None:
            return batch
        own = self._model.clone()
        own.reshape([batch, *shape])
        rows = probe_rows(shape, DTYPES[description.datatype], batch + 1)
        run = self._compiled_run(own)
        try:
            run_freed = self._compiled_run(freed)
        except RuntimeError:
            return batch
        if not frees_cleanly(rows, batch, run, run_freed):
            return batch
        self._model = freed
        return None

    def _compiled_run(self, graph: Any, precision: str = "fp32") -> Any:
        return Request(self._compiler.compile(graph, precision), self._names).run

    def _compile_images(self, precision: str) -> Any:
        """Compile for images; a reduced precision that is wrong is given up for float32, with a warning."""
        graph = with_image_input(self._model, self._image, self.info.fixed_batch)
        compiled = self._compiler.compile(graph, precision)
        if precision not in ("bf16", "fp16"):
            return compiled
        reference = self._compiler.compile(graph, "fp32")
        rows = probe_images(self._image.host_shape, self.info.fixed_batch or 2)
        expected, reduced = (Request(one, self._names).run(rows) for one in (reference, compiled))
        wrong = disagreement(expected, reduced, self.info)
        if wrong is None:
            return compiled
        warning = f"precision {precision} was given up for fp32: at {precision} the output {wrong}"
        self.info = replace(self.info, precision="fp32", warnings=(*self.info.warnings, warning))
        return reference

    def image_request(self) -> Request:
        if self._images is None:
            raise EngineError("the engine is closed")
        return Request(self._images, self._names)

    def tensor_request(self) -> Request:
        """
        Raises:
            EngineError: `prepare_tensors` was not called.
        """
        if self._tensors is None:
            raise EngineError("the engine is not prepared for tensors")
        return Request(self._tensors, self._names)

    def create_context(self) -> OpenVinoContext:
        return OpenVinoContext(self, self._max_batch)

    def adopt_rows(self, rows: NDArray[np.uint8]) -> None:
        """Read where they lie, as they are."""

    def prepare_tensors(self) -> None:
        with self._lock:
            if self._tensors is not None:
                return
            if self._model is None:
                raise EngineError("the engine is closed")
            try:
                self._tensors = self._compiler.compile(self._model, self.info.precision)
            except RuntimeError as error:
                raise EngineError(
                    f"OpenVINO cannot compile the model for tensors: {one_line(error)}"
                ) from error

    def close(self) -> None:
        with self._lock:
            self._model = self._images = self._tensors = None
