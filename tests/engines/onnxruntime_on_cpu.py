"""ONNX Runtime's engine for GPUs, with the CPU's provider computing in the fake GPU's memory."""

from __future__ import annotations

from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.cuda.engine import CudaEngine
from beyond_serve.engines.cuda.kernels import Kernels
from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.onnxruntime_cuda import load_onnxruntime_cuda
from beyond_serve.engines.onnxruntime_network import Provider
from tests.engines.cuda.fake_runtime import FakeRuntime


def cpu_provider(runtime: FakeRuntime) -> Provider:
    return Provider("CPUExecutionProvider", "cpu", 0, put=runtime.do)


def onnxruntime_on_cpu(config: EngineConfig, runtime: FakeRuntime) -> CudaEngine:
    return load_onnxruntime_cuda(
        config,
        describe_model(config.source),
        open_runtime=lambda device: runtime,
        make_kernels=lambda device: Kernels(device, lambda source, capability: b""),
        provider=cpu_provider(runtime),
    )
