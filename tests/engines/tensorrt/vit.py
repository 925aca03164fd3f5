"""A small vision transformer, node by node: patches by convolution, attention, layer norms, a head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH, HEADS, PATCH, SIDE, CLASSES = 32, 2, 8, 32, 10
TOKENS = (SIDE // PATCH) ** 2


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.rng = np.random.default_rng(11)

    def weight(self, *shape: int) -> str:
        values = self.rng.standard_normal(shape) / np.sqrt(shape[0])
        return self.constant(values.astype(np.float32))

    def constant(self, value: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(value, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        out = attributes.pop("out", f"v{len(self.nodes)}")
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def norm(self, value: str) -> str:
        one, zero = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
        return self.add("LayerNormalization", value, self.constant(one), self.constant(zero), axis=-1)

    def linear(self, value: str, given: int, made: int) -> str:
        return self.add("Add", self.add("MatMul", value, self.weight(given, made)), self.weight(made))

    def attention(self, value: str) -> str:
        split = self.constant(np.array([0, TOKENS, HEADS, WIDTH // HEADS], np.int64))
        parts = [self.add("Reshape", self.linear(value, WIDTH, WIDTH), split) for _ in range(3)]
        query, key, values = (
            self.add("Transpose", part, perm=perm)
            for part, perm in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
        )
        scale = self.constant(np.array((WIDTH / HEADS) ** -0.5, np.float32))
        scores = self.add("Softmax", self.add("Mul", self.add("MatMul", query, key), scale), axis=-1)
        mixed = self.add("Transpose", self.add("MatMul", scores, values), perm=[0, 2, 1, 3])
        joined = self.add("Reshape", mixed, self.constant(np.array([0, TOKENS, WIDTH], np.int64)))
        return self.linear(joined, WIDTH, WIDTH)


def write_vit(path: Path) -> str:
    """float32 [N, 3, 32, 32] → logits [N, 10]; two blocks, seeded weights."""
    graph = _Graph()
    kernel = graph.constant(graph.rng.standard_normal((WIDTH, 3, PATCH, PATCH)).astype(np.float32) / 14)
    value = graph.add("Conv", "pixels", kernel, strides=[PATCH, PATCH])
    value = graph.add("Reshape", value, graph.constant(np.array([0, WIDTH, TOKENS], np.int64)))
    value = graph.add("Add", graph.add("Transpose", value, perm=[0, 2, 1]), graph.weight(TOKENS, WIDTH))
    for _ in range(2):
        value = graph.add("Add", value, graph.attention(graph.norm(value)))
        hidden = graph.linear(graph.norm(value), WIDTH, 4 * WIDTH)
        halved = graph.add("Mul", hidden, graph.constant(np.array(0.5, np.float32)))
        root = graph.constant(np.array(2**-0.5, np.float32))
        bent = graph.add(
            "Add", graph.add("Erf", graph.add("Mul", hidden, root)), graph.constant(np.float32([1]))
        )
        value = graph.add("Add", value, graph.linear(graph.add("Mul", halved, bent), 4 * WIDTH, WIDTH))
    pooled = graph.add("ReduceMean", graph.norm(value), axes=[1], keepdims=0)
    graph.add("Identity", graph.linear(pooled, WIDTH, CLASSES), out="logits")
    given = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])
    made = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])
    proto = helper.make_graph(graph.nodes, "vit", [given], [made], graph.weights)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return str(path)
