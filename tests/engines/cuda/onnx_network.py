"""An ONNX model as a GPU's network: ONNX Runtime computes in the fake GPU's memory, between our kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.cuda.engine import CudaEngine
from beyond_serve.engines.cuda.graphs import GraphReplay, capture_replay
from beyond_serve.engines.cuda.kernels import Kernels
from beyond_serve.engines.cuda.program import Buffers, NetworkSpec
from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.onnx_file import load_proto
from beyond_serve.engines.onnxruntime_engine import Session
from beyond_serve.engines.tensor_rows import DTYPES
from tests.engines.cuda.cpu_kernels import CpuKernelRuntime


@dataclass
class OnnxNetwork:
    runtime: CpuKernelRuntime
    spec: NetworkSpec
    session: Session

    def program(self, stream: int, buffers: Buffers) -> OnnxProgram:
        return OnnxProgram(self, stream, buffers)

    def close(self) -> None:
        pass


@dataclass
class OnnxProgram:
    network: OnnxNetwork
    stream: int
    buffers: Buffers

    def enqueue(self, rows: int) -> None:
        spec, view = self.network.spec, self.network.runtime.view

        def compute() -> None:
            shape = (rows, *spec.input.shape[1:])
            outputs = self.network.session.run(view(self.buffers.input, DTYPES[spec.input.datatype], shape))
            for name, values in outputs.items():
                view(self.buffers.outputs[name], values.dtype, values.shape)[...] = values

        self.network.runtime.do(self.stream, compute)

    def capture(self, enqueue: Callable[[], None]) -> GraphReplay:
        return capture_replay(self.network.runtime, self.stream, enqueue)

    def close(self) -> None:
        pass


def onnx_engine(config: EngineConfig, runtime: CpuKernelRuntime) -> CudaEngine:
    """A whole CudaEngine for an ONNX file whose sizes are known."""
    description = describe_model(config.source)
    spec = NetworkSpec(description.inputs[0], description.outputs, None, None, "fp32")
    path = Path(config.source)
    session = Session(load_proto(path), path.parent, 1, description.inputs[0].name)
    return CudaEngine(
        "tensorrt",
        config,
        description,
        runtime,
        lambda device: OnnxNetwork(runtime, spec, session),
        make_kernels=lambda device: Kernels(device, lambda source, capability: np.zeros(1).tobytes()),
    )
