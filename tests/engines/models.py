"""Tiny ONNX classifiers, written node by node, with a NumPy reference of their first steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from beyond_serve.preprocess.plan import Normalization

TYPES = {"FP32": TensorProto.FLOAT, "FP16": TensorProto.FLOAT16, "UINT8": TensorProto.UINT8}
DTYPES = {"FP32": np.float32, "FP16": np.float16, "UINT8": np.uint8}
SIZE = (12, 16)


@dataclass(frozen=True)
class Net:
    """What to write.

    batch: "N" is a free axis; a number fixes it, and with `rigid` also inside the graph.
    size: (H, W), None leaves both free.
    mixes_rows: each row's answer depends on its batch, as no freed axis may.
    delicate: large values that cancel, which no reduced precision survives.
    """

    layout: str = "NCHW"
    datatype: str = "FP32"
    channels: int = 3
    batch: int | str = "N"
    size: tuple[int, int] | None = SIZE
    softmax: bool = False
    classes: int = 5
    rigid: bool = False
    mixes_rows: bool = False
    delicate: bool = False
    opset: int = 17


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def add(self, op: str, *inputs: Any, out: str | None = None, **attributes: Any) -> str:
        names = []
        for value in inputs:
            names.append(value if isinstance(value, str) else f"w{len(self.weights)}")
            if not isinstance(value, str):
                self.weights.append(numpy_helper.from_array(np.asarray(value), names[-1]))
        out = out or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [out], **attributes))
        return out


def write(path: Path, net: Net = Net()) -> str:
    """Conv, ReLU, pooling over rows, linear; weights seeded, so that every row and column matters."""
    rng = np.random.default_rng(7)
    real = np.float16 if net.datatype == "FP16" else np.float32
    graph = _Graph()
    value = _linear(graph, _features(graph, net, rng, real), net, rng, real)
    name = "probabilities" if net.softmax else "logits"
    if net.softmax:
        graph.add("Softmax", value, axis=1, out=name)
    else:
        graph.add("Identity", value, out=name)
    height, width = net.size or ("H", "W")
    shape = [net.batch, net.channels, height, width]
    if net.layout == "NHWC":
        shape = [net.batch, height, width, net.channels]
    kind = TYPES["FP16" if net.datatype == "FP16" else "FP32"]
    save(
        path,
        graph,
        [helper.make_tensor_value_info("pixels", TYPES[net.datatype], shape)],
        [helper.make_tensor_value_info(name, kind, [net.batch, net.classes])],
        net.opset,
    )
    return str(path)


def _features(graph: _Graph, net: Net, rng: np.random.Generator, real: type[np.floating]) -> str:
    """[n, 8, 1, 1] of "pixels"."""
    value = "pixels"
    if net.datatype == "UINT8":
        value = graph.add("Cast", value, to=TensorProto.FLOAT)
        value = graph.add("Mul", value, np.float32(1 / 255))
    if net.layout == "NHWC":
        value = graph.add("Transpose", value, perm=[0, 3, 1, 2])
    kernel = rng.standard_normal((8, net.channels, 3, 3)) / np.sqrt(9 * net.channels)
    value = graph.add("Conv", value, kernel.astype(real), strides=[2, 2], pads=[1, 1, 1, 1])
    value = graph.add("Relu", value)
    return graph.add("GlobalAveragePool", value)


def _linear(graph: _Graph, value: str, net: Net, rng: np.random.Generator, real: type[np.floating]) -> str:
    """[n, classes] of the features, with whatever `net` puts in the way."""
    if net.rigid:
        value = graph.add("Reshape", value, np.array([net.batch, 8], np.int64))
        # OpenVINO repairs the shape above by itself; this one it cannot.
        value = graph.add("Add", value, np.zeros((net.batch, 8), real))
    else:
        value = graph.add("Flatten", value)
    if net.mixes_rows:
        value = graph.add("Add", value, graph.add("ReduceMean", value, axes=[0], keepdims=1))
    weights = rng.standard_normal((8, net.classes))
    if net.delicate:
        value = graph.add("Relu", graph.add("Add", value, np.full(8, 3000, real)))
        weights -= weights.mean(axis=0)
    return graph.add("MatMul", value, weights.astype(real))


def save(path: Path, graph: _Graph, inputs: list[Any], outputs: list[Any], opset: int = 17) -> None:
    proto = helper.make_graph(graph.nodes, "tiny", inputs, outputs, graph.weights)
    onnx.save(
        helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), str(path)
    )


def write_raw(
    path: Path,
    nodes: list[Any],
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: dict[str, tuple[int, list[Any]]],
    weights: dict[str, Any] | None = None,
) -> str:
    """Any graph: nodes of onnx.helper, inputs and outputs by name as (element type, shape)."""
    graph = _Graph()
    graph.nodes = nodes
    graph.weights = [
        numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()
    ]
    infos = [
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in values.items()]
        for values in (inputs, outputs)
    ]
    save(path, graph, *infos)
    return str(path)


def images(count: int, size: tuple[int, int] = SIZE, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def normalised(rows: np.ndarray, net: Net, normalization: Normalization) -> np.ndarray:
    """What a client that preprocesses itself sends for uint8 RGB `rows`: the reference of the graphs."""
    values = rows.astype(np.float64)
    mean, std = np.array(normalization.mean), np.array(normalization.std)
    if net.channels == 1:
        values = values @ np.array([[0.299], [0.587], [0.114]])
        mean, std = mean.mean(), std.mean()
    elif normalization.channel_order == "BGR":
        values = values[..., ::-1]
    if net.datatype == "UINT8":
        values = np.floor(values + 0.5)
    else:
        values = (values * normalization.scale - mean) / std
    if net.layout == "NCHW":
        values = values.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(values.astype(DTYPES[net.datatype]))
