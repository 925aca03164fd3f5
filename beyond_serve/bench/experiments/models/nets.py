"""Networks of stated cost, written as ONNX without torch: for their cost, since their weights are random.

Two plain families, whose width sets the cost: residual convolutions, and an MLP-Mixer (Tolstikhin et al.
2021). They are no published architectures and are named so that nobody takes them for one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

IMAGE, CLASSES = 224, 1000
_INPUT, _OUTPUT = "input", "logits"
_PATCH = 16


@dataclass(frozen=True, slots=True)
class MadeNet:
    """A network that is written when it is asked for; `write` takes the path and the weights' seed."""

    name: str
    write: Callable[[Path, int], None]


class _Graph:
    """Nodes and weights as they are added."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(seed)

    def node(self, kind: str, inputs: Sequence[str], **attributes: object) -> str:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def weight(self, value: NDArray[np.float32]) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def random(self, shape: Sequence[int], inputs: int, gain: float) -> str:
        """Variance gain / inputs: activations keep their scale through the depth, as trained ones do, so
        that a reduced precision is judged on values as they are."""
        return self.weight(self._rng.normal(0, np.sqrt(gain / inputs), shape).astype(np.float32))

    def conv(self, x: str, inputs: int, outputs: int, kernel: int, stride: int, gain: float = 2.0) -> str:
        weight = self.random((outputs, inputs, kernel, kernel), inputs * kernel * kernel, gain)
        pads = [0 if stride == kernel else kernel // 2] * 4
        bias = self.weight(np.zeros(outputs, np.float32))
        return self.node(
            "Conv", [x, weight, bias], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads
        )

    def linear(self, x: str, inputs: int, outputs: int, gain: float = 1.0) -> str:
        """Along the last axis."""
        return self.node("MatMul", [x, self.random((inputs, outputs), inputs, gain)])

    def norm(self, x: str, size: int) -> str:
        ones, zeros = self.weight(np.ones(size, np.float32)), self.weight(np.zeros(size, np.float32))
        return self.node("LayerNormalization", [x, ones, zeros], axis=-1)

    def mlp(self, x: str, size: int, hidden: int) -> str:
        """Half the gain in its second layer, for it is added to what it came from."""
        inner = self.node("Relu", [self.linear(x, size, hidden, 2.0)])
        return self.linear(inner, hidden, size, 0.5)

    def save(self, path: Path, name: str, features: str, width: int) -> None:
        head = self.random((width, CLASSES), width, 4.0)
        self.nodes.append(helper.make_node("MatMul", [features, head], [_OUTPUT]))
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info(_INPUT, TensorProto.FLOAT, ["N", 3, IMAGE, IMAGE])],
            [helper.make_tensor_value_info(_OUTPUT, TensorProto.FLOAT, ["N", CLASSES])],
            self.weights,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="beyond-bench"
        )
        onnx.checker.check_model(model)
        onnx.save(model, path)


def write_cnn(path: Path, width: int, seed: int = 0) -> None:
    """A stem and four stages of `width` times 2, 4, 8, 16 channels at 56, 28, 14, 7 pixels.

    Input FP32 [N, 3, 224, 224], output logits FP32 [N, 1000]; about 1.1e6 * width**2 MACs an image.
    """
    graph = _Graph(seed)
    channels = width
    x = graph.node("Relu", [graph.conv(_INPUT, 3, channels, 3, 2)])
    for _ in range(4):
        x = graph.node("Relu", [graph.conv(x, channels, 2 * channels, 3, 2)])
        channels *= 2
        inner = graph.node("Relu", [graph.conv(x, channels, channels, 3, 1)])
        x = graph.node("Relu", [graph.node("Add", [x, graph.conv(inner, channels, channels, 3, 1, 0.5)])])
    features = graph.node("Flatten", [graph.node("GlobalAveragePool", [x])])
    graph.save(path, f"cnn-{width}", features, channels)


def write_mixer(path: Path, width: int, depth: int, seed: int = 0) -> None:
    """`depth` blocks that mix the 196 patches of 16x16 pixels, then their `width` channels.

    Input FP32 [N, 3, 224, 224], output logits FP32 [N, 1000].
    """
    graph = _Graph(seed)
    tokens = (IMAGE // _PATCH) ** 2
    patches = graph.conv(_INPUT, 3, width, _PATCH, _PATCH, 1.0)
    shape = graph.node("Constant", [], value=numpy_helper.from_array(np.array([0, width, tokens], np.int64)))
    x = graph.node("Transpose", [graph.node("Reshape", [patches, shape])], perm=[0, 2, 1])
    for _ in range(depth):
        across = graph.node("Transpose", [graph.norm(x, width)], perm=[0, 2, 1])
        mixed = graph.node("Transpose", [graph.mlp(across, tokens, width // 2)], perm=[0, 2, 1])
        x = graph.node("Add", [x, mixed])
        x = graph.node("Add", [x, graph.mlp(graph.norm(x, width), width, 4 * width)])
    features = graph.node("ReduceMean", [graph.norm(x, width)], axes=[1], keepdims=0)
    graph.save(path, f"mixer-{width}", features, width)


def cnn(width: int) -> MadeNet:
    return MadeNet(f"cnn-{width}", lambda path, seed: write_cnn(path, width, seed))


def mixer(width: int, depth: int) -> MadeNet:
    return MadeNet(f"mixer-{width}", lambda path, seed: write_mixer(path, width, depth, seed))


FAMILY: tuple[MadeNet, ...] = (
    *(cnn(8), cnn(16), cnn(32), cnn(64), cnn(96)),
    *(mixer(128, 8), mixer(256, 8), mixer(512, 8)),
)
"""From about 0.08 to 11 GMACs."""


def write_nets(nets: Sequence[MadeNet], folder: Path, seed: int) -> dict[str, Path]:
    """Write `nets` into `folder`; the files by name."""
    files = {net.name: folder / f"{net.name}.onnx" for net in nets}
    for net in nets:
        net.write(files[net.name], seed)
    return files
