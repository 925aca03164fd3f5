"""From a configuration to a loaded engine."""

from __future__ import annotations

import importlib.util
import re

from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.null_engine import NullEngine, parse_null
from beyond_serve.engines.onnxruntime_engine import OnnxRuntimeEngine
from beyond_serve.engines.openvino_engine import OpenVinoEngine
from beyond_serve.engines.protocol import Engine
from beyond_serve.engines.sim_engine import SimEngine, read_sim_table
from beyond_serve.errors import ModelLoadError

__all__ = ["EngineConfig", "load_engine"]

ENGINES = ("auto", "openvino", "onnxruntime", "tensorrt", "torch")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")
_NOT_BUILT_YET = ("tensorrt", "torch")


def load_engine(config: EngineConfig) -> Engine:
    """Load the model. Blocks for as long as reading, compiling and checking take.

    `null:` and `sim:` name their engine themselves; engine, precision and device are then ignored.

    Raises:
        ModelLoadError: the model cannot be loaded as asked; says why, and what would work.
    """
    _check(config)
    if config.source.startswith("null:"):
        return NullEngine(parse_null(config.source), config.max_batch)
    if config.source.startswith("sim:"):
        return SimEngine(read_sim_table(config.source), config.max_batch)
    name = choose_engine(config)
    description = describe_model(config.source)
    if name == "openvino":
        return OpenVinoEngine(config, description)
    return OnnxRuntimeEngine(config, description)


def _check(config: EngineConfig) -> None:
    _one_of("engine", config.engine, ENGINES)
    _one_of("precision", config.precision, PRECISIONS)
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", config.device):
        raise ModelLoadError(f"unknown device '{config.device}'", "choose auto, cpu or cuda:N")
    for name in ("instances", "max_batch"):
        if getattr(config, name) < 1:
            raise ModelLoadError(f"{name} is {getattr(config, name)}", "at least 1 is needed")
    if config.threads < 0:
        raise ModelLoadError(f"threads is {config.threads}", "give 0 for the engine's choice, or more")


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ModelLoadError(f"unknown {what} '{value}'", f"choose one of {', '.join(known)}")


def choose_engine(config: EngineConfig) -> str:
    """The engine's name: as asked if it can do it, else OpenVINO where it is installed.

    Raises:
        ModelLoadError: the engine asked for cannot run this file, or not on this device.
    """
    is_onnx = config.source.lower().endswith(".onnx")
    name = config.engine
    if name in _NOT_BUILT_YET:
        raise ModelLoadError(
            f"the engine {name} is not built yet", "use --engine auto, openvino or onnxruntime"
        )
    if name == "auto":
        onnxruntime_only = is_onnx and importlib.util.find_spec("openvino") is None
        name = "onnxruntime" if onnxruntime_only else "openvino"
    if name == "onnxruntime" and config.source.lower().endswith(".xml"):
        raise ModelLoadError(
            f"onnxruntime cannot run the OpenVINO file '{config.source}'", "use --engine openvino"
        )
    if config.device.startswith("cuda"):
        raise ModelLoadError(
            f"the engine {name} runs on the CPU here, not on {config.device}", "use --device cpu or auto"
        )
    return name
