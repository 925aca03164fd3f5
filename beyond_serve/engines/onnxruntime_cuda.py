"""ONNX Runtime's CUDA provider."""

from __future__ import annotations

import importlib.util

from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.protocol import Engine
from beyond_serve.errors import ModelLoadError


def has_cuda_provider() -> bool:
    """The installed ONNX Runtime was built for CUDA (the package onnxruntime-gpu)."""
    if importlib.util.find_spec("onnxruntime") is None:
        return False
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def load_onnxruntime_cuda(config: EngineConfig, description: ModelDescription) -> Engine:
    raise ModelLoadError("being built", "")
