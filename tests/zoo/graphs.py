"""ONNX graphs whose weights have sizes and no data: enough to count, and quick to make."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto, helper


class GraphOfSizes:
    """Nodes as they are added, each with one output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, *dims: int, kind: int = TensorProto.FLOAT) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(TensorProto(name=name, data_type=kind, dims=dims))
        return name

    def ints(self, *values: int) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def conv(
        self, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1, pad: int | None = None
    ) -> str:
        pad = kernel // 2 if pad is None else pad
        weight = self.weight(outputs, inputs, kernel, kernel)
        return self.node("Conv", x, weight, strides=[stride] * 2, pads=[pad] * 4)

    def model(
        self, inputs: dict[str, list[int | str]], output: str, opset: int = 18, kind: int = TensorProto.FLOAT
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "sizes",
            [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
            [helper.make_empty_tensor_value_info(output)],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def resnet50() -> onnx.ModelProto:
    """He et al. 2015, with the stride in the 3x3 convolution (v1.5)."""
    graph = GraphOfSizes()
    x = graph.node(
        "MaxPool", graph.conv("image", 3, 64, 7, 2), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4
    )
    channels = 64
    for width, blocks, first_stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            y = graph.conv(graph.conv(x, channels, width, 1), width, width, 3, stride)
            y = graph.conv(y, width, 4 * width, 1)
            shortcut = graph.conv(x, channels, 4 * width, 1, stride) if block == 0 else x
            x, channels = graph.node("Add", y, shortcut), 4 * width
    x = graph.node("Flatten", graph.node("GlobalAveragePool", x))
    x = graph.node("Gemm", x, graph.weight(1000, 2048), graph.weight(1000), transB=1)
    return graph.model({"image": ["batch", 3, 224, 224]}, x)


def vit_base() -> onnx.ModelProto:
    """Dosovitskiy et al. 2020, ViT-Base/16, without biases and norms, which cost no multiply-accumulates."""
    graph, width, heads = GraphOfSizes(), 768, 12
    x = graph.conv("image", 3, width, 16, 16, pad=0)
    x = graph.node("Transpose", graph.node("Reshape", x, graph.ints(0, width, -1)), perm=[0, 2, 1])
    x = graph.node("Pad", x, graph.ints(0, 1, 0, 0, 0, 0))  # the class token's row
    for _ in range(12):
        query, key, value = (
            graph.node(
                "Reshape", graph.node("MatMul", x, graph.weight(width, width)), graph.ints(0, 0, heads, 64)
            )
            for _ in range(3)
        )
        query, value = (graph.node("Transpose", t, perm=[0, 2, 1, 3]) for t in (query, value))
        key = graph.node("Transpose", key, perm=[0, 2, 3, 1])
        seen = graph.node("MatMul", graph.node("Softmax", graph.node("MatMul", query, key)), value)
        seen = graph.node(
            "Reshape", graph.node("Transpose", seen, perm=[0, 2, 1, 3]), graph.ints(0, 0, width)
        )
        x = graph.node("MatMul", seen, graph.weight(width, width))
        x = graph.node("MatMul", x, graph.weight(width, 4 * width))
        x = graph.node("MatMul", x, graph.weight(4 * width, width))
    x = graph.node("Gather", x, graph.ints(0), axis=1)
    x = graph.node("MatMul", x, graph.weight(width, 1000))
    return graph.model({"image": ["batch", 3, 224, 224]}, x)
