"""A .pt2 model on a GPU: its weights once, and a program for each context."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beyond_serve.engines.cuda.program import Buffers, NetworkSpec
from beyond_serve.engines.cuda.runtime import CudaError
from beyond_serve.engines.cuda.tensors import row_layout
from beyond_serve.engines.foreign import one_line, require
from beyond_serve.engines.torch.cuda_errors import translate, translated
from beyond_serve.engines.torch.cuda_program import TorchProgram
from beyond_serve.engines.torch.facts import Pt2Facts
from beyond_serve.engines.torch.image_prefix import DTYPES
from beyond_serve.engines.torch.library import checked_inputs, make_explicit
from beyond_serve.engines.torch.runners import load_program, probe_batches, wrong_description
from beyond_serve.errors import EngineError, ModelLoadError


class TorchNetwork:
    """Weights on "cuda:index", shared by all programs: a compiled package is loaded once, for single-threaded
    use (the only one that CUDA graphs can record), and a lock lets one thread at a time put its work onto its
    stream. What runs on the streams still overlaps, and graphs are launched without the lock.

    Raises:
        ModelLoadError: PyTorch refuses the file, or a size beside the batch is free.
        CudaError: there is no room for it, or the device fails.
    """

    def __init__(self, torch: Any, path: Path, facts: Pt2Facts, index: int, max_batch: int) -> None:
        make_explicit(torch)
        self.torch = torch
        self._index = index
        self._lock = threading.Lock()
        image = facts.graph.inputs[0]
        for spec in (image, *facts.graph.outputs):
            row_layout(spec)
        batch = image.shape[0]
        self.spec = NetworkSpec(
            input=image,
            outputs=facts.graph.outputs,
            max_batch=facts.max_batch,
            fixed_batch=batch if batch > 0 else None,
            precision=facts.precision,
        )
        with torch.cuda.device(index), _loading(torch, path):
            if facts.described:
                self._try_out(path, probe_batches(self.spec.fixed_batch, facts.max_batch or max_batch))
            self._model: Any = (
                _compiled(torch, path, index)
                if facts.kind == "aoti"
                else exported_on(torch, path, facts, f"cuda:{index}")
            )
            self._first_run()

    def _try_out(self, path: Path, batches: Sequence[int]) -> None:
        """In a copy that looks at its inputs; raises ModelLoadError."""
        with checked_inputs(), self.torch.inference_mode():
            copy = _compiled(self.torch, path, self._index)
            try:
                for batch in batches:
                    copy(self._zeros(batch))
                self.torch.cuda.synchronize(self._index)
            except RuntimeError as error:
                failure = translate(self.torch, error, "trying the model out")
                if isinstance(failure, EngineError):
                    raise wrong_description(path, failure) from error
                raise failure from error

    def _zeros(self, batch: int) -> Any:
        shape = (batch, *self.spec.input.shape[1:])
        dtype = getattr(self.torch, DTYPES[self.spec.input.datatype])
        return self.torch.zeros(shape, dtype=dtype, device=f"cuda:{self._index}")

    def _first_run(self) -> None:
        """On a compiled package's first run its folded constants are made, on that run's stream; waited for,
        because other streams would not. Kernels are loaded then, too."""
        with self.torch.inference_mode():
            try:
                self.run(self._zeros(self.spec.fixed_batch or 1))
            except EngineError as error:
                raise ModelLoadError(
                    f"the model cannot run one image: {error.message}", error.hint
                ) from error
        self.torch.cuda.synchronize(self._index)

    def run(self, values: Any) -> list[Any]:
        """Put the model's work for a tensor [n, …] onto the current stream; returns the outputs, as many as
        `spec` names. The caller is in inference mode. PyTorch's own errors come through."""
        model = self._model
        if model is None:
            raise EngineError("the engine is closed")
        with self._lock:
            outputs: list[Any] = model(values)
        if len(outputs) != len(self.spec.outputs):
            raise EngineError(
                f"the model has {len(outputs)} outputs, not the {len(self.spec.outputs)} that are named",
                "mend the [pt2] table beside the model",
            )
        return outputs

    def program(self, stream: int, buffers: Buffers) -> TorchProgram:
        with translated(self.torch, "making a program"):
            return TorchProgram(self.torch, self, self._index, stream, buffers)

    def close(self) -> None:
        self._model = None
        # A device that is lost has lost its memory too.
        with contextlib.suppress(CudaError, EngineError), translated(self.torch, "giving memory back"):
            self.torch.cuda.empty_cache()


@contextmanager
def _loading(torch: Any, path: Path) -> Iterator[None]:
    """Within it PyTorch's errors become CudaError or ModelLoadError."""
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        failure = translate(torch, error, "loading the model")
        if isinstance(failure, CudaError):
            raise failure from error
        raise ModelLoadError(
            f"PyTorch {torch.__version__} cannot load '{path}': {one_line(error)}",
            "build it again on this machine: beyond-models build ARCH -o NAME.pt2 --device cuda",
        ) from error


def _compiled(torch: Any, path: Path, index: int) -> Any:
    package = torch._inductor.aoti_load_package(str(path), run_single_threaded=True, device_index=index)
    # The package's own call parses its description as JSON each time.
    run = package.loader.boxed_run
    return lambda values: run([values])


def exported_on(torch: Any, path: Path, facts: Pt2Facts, device: str) -> Callable[[Any], list[Any]]:
    """An exported program as a function of tensors, its weights and constants on `device`."""
    move = require("torch.export.passes").move_to_device_pass
    module = move(load_program(torch, path), device).module()
    module.to(memory_format=torch.channels_last)
    leaves, keyword = torch.utils._pytree.tree_leaves, facts.keyword

    def run(values: Any) -> list[Any]:
        result = module(values) if keyword is None else module(**{keyword: values})
        return [leaf for leaf in leaves(result) if torch.is_tensor(leaf)]

    return run
