"""What a TensorRT plan is, read by loading it: its format is TensorRT's secret."""

from __future__ import annotations

import functools
from pathlib import Path

from beyond_serve.engines.cuda.runtime import CudaError
from beyond_serve.engines.onnx_file import GraphFacts
from beyond_serve.engines.tensorrt.flavour import find_runtime
from beyond_serve.engines.tensorrt.plan import load_plan_file
from beyond_serve.engines.tensorrt.plan_facts import PlanFacts, graph_facts
from beyond_serve.engines.tensorrt.plan_file import read_plan_file
from beyond_serve.errors import ModelLoadError


def read_facts(path: Path, *, trust_plan: bool = False, device: str = "cuda:0") -> GraphFacts:
    """What `read_plan` finds, as the server sees a model's file. Raises as it does."""
    return graph_facts(read_plan(path, trust_plan=trust_plan, device=device))


def read_plan(path: Path, *, trust_plan: bool = False, device: str = "cuda:0") -> PlanFacts:
    """Load the plan once, and give it back.

    Raises:
        ModelLoadError: it cannot be loaded here, or cannot be served.
    """
    state = path.stat()
    return _read(path, trust_plan, device, (state.st_mtime_ns, state.st_size))


def bind_device(device: str) -> None:
    """Make "cuda:N" the calling thread's device, on which TensorRT loads."""
    from beyond_serve.engines.cuda.bindings import open_runtime

    open_runtime(device)


@functools.lru_cache(maxsize=32)
def _read(path: Path, trust_plan: bool, device: str, _state: tuple[int, int]) -> PlanFacts:
    # A start asks twice or more for what takes a second each time.
    file = read_plan_file(path)
    installed = find_runtime(file.maker, device)
    try:
        bind_device(device)
        plan = load_plan_file(path, file, installed, trust=trust_plan)
    except CudaError as error:
        raise ModelLoadError(
            f"the plan '{path}' cannot be loaded on {device}: {error}",
            "see nvidia-smi for what takes the GPU's memory",
        ) from error
    plan.close()
    return plan.facts
