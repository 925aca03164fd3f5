"""TensorRT plans on one NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.cuda.engine import CudaEngine, MakeKernels, own_kernels
from beyond_serve.engines.cuda.program import Network
from beyond_serve.engines.cuda.runtime import CudaRuntime
from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.graph import IMAGE_INPUT
from beyond_serve.engines.image_input import image_input
from beyond_serve.engines.tensorrt.flavour import find_runtime
from beyond_serve.engines.tensorrt.network import TensorRtNetwork
from beyond_serve.engines.tensorrt.plan import load_plan_file
from beyond_serve.engines.tensorrt.plan_facts import check_precision
from beyond_serve.engines.tensorrt.plan_file import read_plan_file

OpenRuntime = Callable[[str], CudaRuntime]


def load_tensorrt(
    config: EngineConfig,
    description: ModelDescription,
    *,
    open_runtime: OpenRuntime | None = None,
    make_kernels: MakeKernels = own_kernels,
) -> CudaEngine:
    """
    Args:
        open_runtime: opens "cuda:N"; None takes the machine's.

    Raises:
        ModelLoadError: there is no such GPU, no TensorRT for this plan, or the plan cannot be run as asked.
    """
    path = Path(config.source)
    file = read_plan_file(path)
    installed = find_runtime(file.maker, config.device)
    if description.inputs[0].name == IMAGE_INPUT:
        # `beyond-models build` has put all of it inside, the order of the channels too.
        config = replace(config, normalization=None)
    image, _ = image_input(description, config.normalization, config.image_size)

    def open_network(runtime: CudaRuntime) -> Network:
        plan = load_plan_file(path, file, installed, trust=config.trust_plan)
        check_precision(config.precision, plan.facts)
        return TensorRtNetwork(plan, runtime, image.row_shape, config.max_batch)

    runtime = (open_runtime or _runtime)(config.device)
    return CudaEngine("tensorrt", config, description, runtime, open_network, make_kernels=make_kernels)


def _runtime(device: str) -> CudaRuntime:
    from beyond_serve.engines.cuda.bindings import open_runtime

    return open_runtime(device)
