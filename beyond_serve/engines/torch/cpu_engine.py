"""PyTorch on the CPU: compiled packages and exported programs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import BatchTiming
from beyond_serve.engines.batch_axis import one_row_each, run_fixed
from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.cores import available_cores, threads_per_context
from beyond_serve.engines.cuda.tensors import as_served
from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.engine_info import batch_warning, describe_engine
from beyond_serve.engines.foreign import one_line
from beyond_serve.engines.image_input import image_input
from beyond_serve.engines.protocol import IMAGE, BatchRows
from beyond_serve.engines.tensor_rows import DTYPES, stacked_tensors
from beyond_serve.engines.torch.facts import Pt2Facts
from beyond_serve.engines.torch.image_prefix import ImagePrefix
from beyond_serve.engines.torch.library import use_threads
from beyond_serve.engines.torch.runners import as_tensor, open_runner, probe_batches, try_out
from beyond_serve.engines.warm_up import warm_up
from beyond_serve.errors import EngineError, ModelLoadError

Arrays = Mapping[str, NDArray[np.generic]]


class TorchCpuContext:
    """Owned by one thread, whose pool of threads computes its batches."""

    def __init__(self, engine: TorchCpuEngine, threads: int, max_batch: int) -> None:
        self._engine: TorchCpuEngine | None = engine
        use_threads(engine.torch, threads)
        shape = engine.info.image_shape
        assert shape is not None

        def run(size: int) -> None:
            engine.run(np.zeros((size, *shape), np.uint8), images=True)

        warm_up(run, min(max_batch, engine.info.max_batch or max_batch), engine.info.fixed_batch)

    def infer(self, batch: BatchRows, timing: BatchTiming) -> Arrays:
        engine = self._engine
        if engine is None:
            raise EngineError("the context is closed")
        images = batch.key == IMAGE
        rows = batch.stacked() if images else stacked_tensors(batch, engine.info.inputs[0])
        timing.copied_in = time.monotonic_ns()
        outputs = engine.run(rows, images=images)
        timing.inferred = timing.copied_out = time.monotonic_ns()
        return outputs

    def close(self) -> None:
        self._engine = None


class TorchCpuEngine:
    """State: the loaded model, shared by contexts; each computes with its own threads.

    Raises:
        ModelLoadError: PyTorch refuses the file, or it does not do what it says.
    """

    def __init__(
        self, torch: Any, config: EngineConfig, description: ModelDescription, facts: Pt2Facts
    ) -> None:
        self.torch = torch
        self._max_batch = config.max_batch
        self._threads = threads_per_context(config.threads, config.instances, available_cores())
        self._names = tuple(spec.name for spec in description.outputs)
        self._image, warnings = image_input(description, config.normalization, config.image_size)
        self._prefix = ImagePrefix(torch, self._image)
        if description.batch is not None:
            warnings += (batch_warning(description.batch, freed=False),)
        info = describe_engine(
            description, "torch", facts.precision, self._image.host_shape, description.batch, warnings
        )
        self.info = replace(
            info, outputs=tuple(as_served(spec) for spec in info.outputs), max_batch=facts.max_batch
        )
        if facts.described:
            batches = probe_batches(description.batch, facts.max_batch or config.max_batch)
            try_out(torch, Path(config.source), self._image.row_shape, DTYPES[description.datatype], batches)
        self._runner = open_runner(torch, Path(config.source), facts, config.instances)
        try:
            self._check_answers(config.source)
        except BaseException:
            self.close()
            raise

    def _check_answers(self, source: str) -> None:
        """One run, so that a file that describes itself wrongly is refused and not served."""
        shape = (self.info.fixed_batch or 1, *self._image.host_shape)
        try:
            outputs = self.run(np.zeros(shape, np.uint8), images=True)
        except EngineError as error:
            raise ModelLoadError(f"'{source}' cannot run one image: {error.message}", error.hint) from error
        for spec in self.info.outputs:
            found = outputs[spec.name].shape[1:]
            if len(found) != len(spec.shape) - 1 or any(
                want not in (-1, have) for have, want in zip(found, spec.shape[1:], strict=True)
            ):
                raise ModelLoadError(
                    f"the output '{spec.name}' of '{source}' is said to be {list(spec.shape)} "
                    f"and is {[-1, *found]}",
                    "mend what the file beside the model says in [pt2], or build it again",
                )

    def run(self, rows: NDArray[np.generic], *, images: bool) -> Arrays:
        """Run rows [n, …], more than the file's largest batch in parts. Raises EngineError."""
        tensor = as_tensor(self.torch, rows)
        fixed, largest = self.info.fixed_batch, self.info.max_batch or len(rows)
        if fixed is not None:
            return run_fixed(rows, fixed, lambda part: self._run(as_tensor(self.torch, part), images))
        parts = [self._run(part, images) for part in tensor.split(largest)]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._names}

    def _run(self, tensor: Any, images: bool) -> Arrays:
        try:
            with self.torch.inference_mode():
                arrays = self._runner(self._prefix(tensor) if images else tensor)
        except RuntimeError as error:
            raise EngineError(f"PyTorch failed: {one_line(error)}") from error
        if len(arrays) != len(self._names):
            raise EngineError(
                f"the model has {len(arrays)} outputs, not the {len(self._names)} that are named",
                "mend the [pt2] table beside the model",
            )
        return one_row_each(dict(zip(self._names, arrays, strict=True)), len(tensor))

    def create_context(self) -> TorchCpuContext:
        return TorchCpuContext(self, self._threads, self._max_batch)

    def adopt_rows(self, rows: NDArray[np.uint8]) -> None:
        """Read where they lie, as they are."""

    def prepare_tensors(self) -> None:
        """The model itself takes tensors; images only pass a few operators before."""

    def close(self) -> None:
        self._runner.close()
