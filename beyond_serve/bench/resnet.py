"""A ResNet-50 (He et al. 2015, v1.5 strides) as ONNX with seeded random weights: its size, not its sight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
_EXPANSION = 4


class _Graph:
    """Nodes and weights as they are added."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(seed)

    def conv(self, x: str, inputs: int, outputs: int, kernel: int, stride: int, *, gain: float = 2.0) -> str:
        """A convolution with its batch norm already folded in. He-initialised, so that activations keep
        their scale through the depth and a reduced precision is judged on realistic values."""
        name = f"conv{len(self.weights)}"
        deviation = np.sqrt(gain / (inputs * kernel * kernel))
        weight = self._rng.normal(0, deviation, (outputs, inputs, kernel, kernel)).astype(np.float32)
        self.weights.append(numpy_helper.from_array(weight, f"{name}.weight"))
        self.weights.append(numpy_helper.from_array(np.zeros(outputs, np.float32), f"{name}.bias"))
        pad = kernel // 2
        return self.node(
            "Conv",
            [x, f"{name}.weight", f"{name}.bias"],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
        )

    def node(self, kind: str, inputs: list[str], **attributes: object) -> str:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def bottleneck(self, x: str, inputs: int, width: int, stride: int) -> str:
        outputs = width * _EXPANSION
        shortcut = (
            x if inputs == outputs and stride == 1 else self.conv(x, inputs, outputs, 1, stride, gain=0.5)
        )
        y = self.node("Relu", [self.conv(x, inputs, width, 1, 1)])
        y = self.node("Relu", [self.conv(y, width, width, 3, stride)])
        # Half the gain on each branch: their sum keeps the variance.
        y = self.conv(y, width, outputs, 1, 1, gain=0.5)
        return self.node("Relu", [self.node("Add", [y, shortcut])])


def build_resnet50(path: Path, seed: int = 0) -> None:
    """Write the model (102 MB, 4.1 GMAC): input FP32 [N, 3, 224, 224], output logits FP32 [N, 1000]."""
    graph = _Graph(seed)
    x = graph.node("Relu", [graph.conv("input", 3, 64, 7, 2)])
    x = graph.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for width, blocks, stride in _STAGES:
        for block in range(blocks):
            x = graph.bottleneck(x, channels, width, stride if block == 0 else 1)
            channels = width * _EXPANSION
    x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x])])
    head = np.random.default_rng(seed + 1).normal(0, 0.02, (1000, channels)).astype(np.float32)
    graph.weights.append(numpy_helper.from_array(head, "head"))
    graph.nodes.append(helper.make_node("Gemm", [x, "head"], ["logits"], transB=1))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "resnet50-random",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 224, 224])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 1000])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="beyond-bench",
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
