"""ONNX Runtime's CUDA provider, as a network of `cuda.engine.CudaEngine`.

Copies, normalisation, ranking, streams and errors are the same as for every engine on a GPU; ONNX Runtime
reads and writes the context's buffers by IO binding. Images are converted by our kernel in front, not by
nodes in the graph, so that one session serves images and tensors alike.

Never run on a GPU: it was tested with ONNX Runtime's CPU provider in the place of CUDA's, behind the same
calls; of onnxruntime-gpu 1.31.1 itself, that it finds its libraries, takes the provider's options, and says
"CUDA failure N". What a GPU alone can show is open: that runs only enqueue, what the arena still allocates
once it is warm, how a lost device is told, and speed.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from beyond_serve.engines.batch_axis import probe_rows
from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.cuda.engine import CudaEngine, MakeKernels, own_kernels
from beyond_serve.engines.cuda.program import NetworkSpec
from beyond_serve.engines.cuda.runtime import CudaRuntime
from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.engine_info import batch_warning
from beyond_serve.engines.foreign import one_line, require
from beyond_serve.engines.image_input import ImageInput, image_input
from beyond_serve.engines.onnx_file import load_proto
from beyond_serve.engines.onnxruntime_engine import Session, choose_own_precision, free_batch, session_options
from beyond_serve.engines.onnxruntime_network import OnnxRuntimeNetwork, Provider, cuda_provider
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.engines.tensor_rows import DTYPES
from beyond_serve.errors import ModelLoadError

_INSTALL = (
    'pip uninstall onnxruntime, then pip install "onnxruntime-gpu[cuda,cudnn]": the two write into one '
    "folder and cannot both be installed"
)
_TF32_SINCE = (8, 0)
_TF32_WARNING = "float32 products are rounded to TF32 (10 bits of fraction); --precision fp32 keeps all 23"


def has_cuda_provider() -> bool:
    """The installed ONNX Runtime was built for CUDA (the package onnxruntime-gpu)."""
    if importlib.util.find_spec("onnxruntime") is None:
        return False
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def load_onnxruntime_cuda(
    config: EngineConfig,
    description: ModelDescription,
    *,
    open_runtime: Callable[[str], CudaRuntime] | None = None,
    make_kernels: MakeKernels = own_kernels,
    provider: Provider | None = None,
) -> CudaEngine:
    """
    Args:
        open_runtime: opens "cuda:N"; None takes the machine's.
        provider: what computes in the runtime's memory; None is ONNX Runtime's CUDA provider.

    Raises:
        ModelLoadError: there is no such GPU, no ONNX Runtime for it, or the model cannot be loaded as asked.
    """
    own = choose_own_precision(config.precision, description)
    if provider is None:
        _check_installed()
    runtime = (open_runtime or _runtime)(config.device)
    tf32 = own == "fp32" and config.precision == "auto" and runtime.facts.capability >= _TF32_SINCE
    model = _prepare(config, description)
    spec = replace(model.spec, precision="tf32" if tf32 else own)
    chosen = provider or cuda_provider(runtime.facts.index, tf32=tf32)
    open_session = functools.partial(_open_session, model.graph, Path(config.source).absolute().parent)
    engine = CudaEngine(
        "onnxruntime",
        config,
        description,
        runtime,
        lambda device: OnnxRuntimeNetwork(device, chosen, spec, open_session),
        make_kernels=make_kernels,
    )
    warnings = (*engine.info.warnings, *model.warnings, *((_TF32_WARNING,) if tf32 else ()))
    engine.info = replace(engine.info, warnings=warnings)
    return engine


def _runtime(device: str) -> CudaRuntime:
    from beyond_serve.engines.cuda.bindings import open_runtime

    return open_runtime(device)


def _check_installed() -> None:
    ort = require("onnxruntime", "onnxruntime-gpu")
    if not has_cuda_provider():
        raise ModelLoadError(
            f"the installed onnxruntime {ort.__version__} is a build without the CUDA provider", _INSTALL
        )
    if not hasattr(ort.InferenceSession, "get_input_memory_infos"):
        raise ModelLoadError(
            f"the installed onnxruntime-gpu {ort.__version__} is too old: 1.23 or newer is needed",
            'pip install -U "onnxruntime-gpu[cuda,cudnn]"',
        )
    # CUDA's libraries from pip packages lie where only this looks. It prints what it misses; that a provider
    # does not start is told later.
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()


@dataclass(frozen=True, slots=True)
class _Prepared:
    """graph: as it runs, serialised; with a free batch where that holds. spec: without the precision."""

    graph: bytes
    spec: NetworkSpec
    warnings: tuple[str, ...]


def _prepare(config: EngineConfig, description: ModelDescription) -> _Prepared:
    """What is found out of the graph before anything runs on the device: by running it on the CPU."""
    path = Path(config.source)
    image, _ = image_input(description, config.normalization, config.image_size)
    given = description.inputs[0]

    def open_on_cpu(proto: Any) -> Session:
        return Session(proto, path.absolute().parent, 1, given.name)

    try:
        proto, fixed = free_batch(load_proto(path), description, image.row_shape, open_on_cpu)
        outputs = _sized_outputs(description, image, fixed or 1, lambda: open_on_cpu(proto))
    except ModelLoadError:
        raise
    except Exception as error:  # ONNX Runtime's errors have no common base but Exception
        raise ModelLoadError(
            f"ONNX Runtime cannot load '{path}': {one_line(error)}", "export or download it again"
        ) from error
    freed = description.batch is not None and fixed is None
    own = replace(given, shape=(-1, *image.row_shape))
    return _Prepared(
        proto.SerializeToString(),
        NetworkSpec(own, outputs, None, fixed, ""),
        (batch_warning(description.batch or 0, freed=True),) if freed else (),
    )


def _sized_outputs(
    description: ModelDescription, image: ImageInput, rows: int, open_session: Callable[[], Session]
) -> tuple[TensorSpec, ...]:
    """The outputs with every size known; where the file leaves one open, as a run of `rows` gives them."""
    if all(size > 0 for spec in description.outputs for size in spec.shape[1:]):
        return description.outputs
    given = probe_rows(image.row_shape, DTYPES[description.datatype], rows)
    found = open_session().run(given)
    return tuple(replace(spec, shape=(-1, *found[spec.name].shape[1:])) for spec in description.outputs)


def _open_session(graph: bytes, folder: Path, providers: list[Any]) -> Any:
    """An InferenceSession that raises rather than falls back to the CPU."""
    options = session_options(folder, 1)
    # Patterns would be laid out by a size's second run, which allocates anew; chunks of the first are reused.
    options.enable_mem_pattern = False
    # Weights never move: they need no room in the arena, which grows for them otherwise.
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    ort = require("onnxruntime", "onnxruntime-gpu")
    return ort.InferenceSession(graph, options, providers=providers, enable_fallback=False)
