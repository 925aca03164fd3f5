"""From a configuration to a loaded engine."""

from __future__ import annotations

import re
from dataclasses import replace

from beyond_serve.engines.choice import ENGINES, choose
from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.describe import ModelDescription, checked_path, describe_model
from beyond_serve.engines.null_engine import NullEngine, parse_null
from beyond_serve.engines.onnxruntime_engine import OnnxRuntimeEngine
from beyond_serve.engines.openvino_engine import OpenVinoEngine
from beyond_serve.engines.protocol import Engine
from beyond_serve.engines.sim_engine import SimEngine, read_sim_table
from beyond_serve.errors import ModelLoadError

__all__ = ["EngineConfig", "load_engine"]

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")


def load_engine(config: EngineConfig) -> Engine:
    """Load the model. Blocks for as long as reading, compiling and checking take.

    `null:` and `sim:` name their engine themselves; engine and precision are then ignored, and so is any
    device but `sim:N`, the emulated device of that number.

    Raises:
        ModelLoadError: the model cannot be loaded as asked; says why, and what would work.
    """
    _check(config)
    if config.source.startswith("null:"):
        return NullEngine(parse_null(config.source), config.max_batch)
    if config.source.startswith("sim:"):
        return SimEngine(read_sim_table(config.source), config.max_batch, config.device)
    checked_path(config.source)
    choice = choose(config.source, config.engine, config.device)
    config = replace(config, engine=choice.engine, device=choice.device)
    described = describe_model(config.source, trust_plan=config.trust_plan, device=config.device)
    return _load(config, described)


def _load(config: EngineConfig, description: ModelDescription) -> Engine:
    """Engines on GPUs are imported only when one is asked for."""
    match config.engine, config.device:
        case "openvino", _:
            return OpenVinoEngine(config, description)
        case "onnxruntime", "cpu":
            return OnnxRuntimeEngine(config, description)
        case "onnxruntime", _:
            from beyond_serve.engines.onnxruntime_cuda import load_onnxruntime_cuda

            return load_onnxruntime_cuda(config, description)
        case "tensorrt", _:
            from beyond_serve.engines.tensorrt.engine import load_tensorrt

            return load_tensorrt(config, description)
        case _:
            from beyond_serve.engines.torch.engine import load_torch

            return load_torch(config, description)


def _check(config: EngineConfig) -> None:
    _one_of("engine", config.engine, ENGINES)
    _one_of("precision", config.precision, PRECISIONS)
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|sim:\d+", config.device):
        raise ModelLoadError(f"unknown device '{config.device}'", "choose auto, cpu or cuda:N")
    for name in ("instances", "max_batch"):
        if getattr(config, name) < 1:
            raise ModelLoadError(f"{name} is {getattr(config, name)}", "at least 1 is needed")
    if config.threads < 0:
        raise ModelLoadError(f"threads is {config.threads}", "give 0 for the engine's choice, or more")


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ModelLoadError(f"unknown {what} '{value}'", f"choose one of {', '.join(known)}")
