"""From a .pt2 file to an engine, on the CPU or on a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.cuda.runtime import CudaRuntime
from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.protocol import Engine, EngineInfo
from beyond_serve.engines.torch.cpu_engine import TorchCpuEngine
from beyond_serve.engines.torch.describe import read_pt2
from beyond_serve.engines.torch.facts import Pt2Facts
from beyond_serve.engines.torch.fitness import check_cpu, check_device, check_precision, version_warnings
from beyond_serve.engines.torch.library import load_library
from beyond_serve.engines.torch.machine import own_cpu_flags, own_platform
from beyond_serve.errors import ModelLoadError


def load_torch(config: EngineConfig, description: ModelDescription) -> Engine:
    """Load a .pt2 file on "cpu" or "cuda:N".

    Raises:
        ModelLoadError: PyTorch is missing, or the file was built for something else; says what to do.
    """
    facts = read_pt2(Path(config.source))
    check_precision(config.source, config.precision, facts.precision)
    if facts.normalises:
        config = replace(config, normalization=None)
    if config.device == "cpu":
        return _on_cpu(config, description, facts)
    return _on_cuda(config, description, facts)


def _on_cpu(config: EngineConfig, description: ModelDescription, facts: Pt2Facts) -> TorchCpuEngine:
    check_device(config.source, facts, config.device, None)
    check_cpu(config.source, facts, own_platform(), own_cpu_flags())
    torch = load_library()
    engine = TorchCpuEngine(torch, config, description, facts)
    engine.info = _warned(engine.info, facts, torch)
    return engine


def _on_cuda(config: EngineConfig, description: ModelDescription, facts: Pt2Facts) -> Engine:
    from beyond_serve.engines.cuda.bindings import open_runtime
    from beyond_serve.engines.cuda.engine import CudaEngine
    from beyond_serve.engines.torch.cuda_network import TorchNetwork

    check_device(config.source, facts, config.device, None)
    runtime = open_runtime(config.device)
    check_device(config.source, facts, config.device, runtime.facts.capability, runtime.facts.name)
    torch = load_library()
    _check_cuda(torch)

    def open_network(runtime: CudaRuntime) -> TorchNetwork:
        return TorchNetwork(torch, Path(config.source), facts, runtime.facts.index, config.max_batch)

    engine = CudaEngine("torch", config, description, runtime, open_network)
    engine.info = _warned(engine.info, facts, torch)
    return engine


def _warned(info: EngineInfo, facts: Pt2Facts, torch: Any) -> EngineInfo:
    return replace(info, warnings=(*info.warnings, *version_warnings(facts, torch.__version__)))


def _check_cuda(torch: Any) -> None:
    if not torch.cuda.is_available():
        raise ModelLoadError(
            f"the installed PyTorch {torch.__version__} cannot use the GPU",
            "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu130",
        )
