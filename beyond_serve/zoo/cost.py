"""What a model costs, counted from its ONNX graph: multiply-accumulates and stored weights.

Counted are convolutions, matrix products and attention; everything else (activations, norms, softmax,
pooling, additions) is not. fvcore's flop counter, whose figures papers print as "FLOPs" although they are
multiply-accumulates, differs only in that it adds norms: 0.019 G for ViT-Base/16, to 17.564 G counted here.
One multiply-accumulate is two floating-point operations: FLOPs = 2 * MACs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from beyond_serve.engines.foreign import require
from beyond_serve.errors import ModelLoadError
from beyond_serve.zoo.shapes import Shapes, infer, shapes_of

_CONTROL_FLOW = {"If", "Loop", "Scan", "SequenceMap"}
# float32, uint8, int8, float16, float64, bfloat16 of onnx.TensorProto; the rest are indices and shapes.
_WEIGHT_TYPES = {1, 2, 3, 10, 11, 16}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one image.

    Attributes:
        macs: multiply-accumulates.
        by_operator: the same, by ONNX operator.
        weights: numbers in the file's float tensors (or int8 ones, where the graph is quantized); what was
            folded into a neighbour on export (batch norms) is gone, what was unfolded (masks) is in, and
            equal tensors may be stored once.
    """

    macs: int
    by_operator: Mapping[str, int]
    weights: int

    @property
    def gmacs(self) -> float:
        return self.macs / 1e9

    @property
    def gflops(self) -> float:
        """1e9 floating-point operations: two for each multiply-accumulate."""
        return 2 * self.macs / 1e9


def count(proto: Any, image_size: tuple[int, int] | None = None) -> Cost:
    """The cost of one image through an onnx.ModelProto, whose weights' data need not be loaded.

    image_size: (H, W), for the free axes of the input beside the batch.

    Raises:
        ModelLoadError: a size stays unknown, or the graph branches or loops.
    """
    graph = infer(proto, image_size)
    shapes = shapes_of(graph)
    macs: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type in _CONTROL_FLOW:
            raise ModelLoadError(f"the cost depends on the input: the graph has the operator {node.op_type}")
        formula = _FORMULAS.get(node.op_type)
        if formula is not None:
            macs[node.op_type] += formula(node, shapes)
    return Cost(sum(macs.values()), dict(macs), _weights(graph))


def _weights(graph: Any) -> int:
    return sum(math.prod(tensor.dims) for tensor in graph.initializer if tensor.data_type in _WEIGHT_TYPES)


def _attribute(node: Any, name: str, default: Any) -> Any:
    onnx = require("onnx")
    for attribute in node.attribute:
        if attribute.name == name:
            return onnx.helper.get_attribute_value(attribute)
    return default


def _convolution(weight: int) -> Callable[[Any, Shapes], int]:
    """Each output value sums over one filter: [C_out, C_in / groups, *kernel]."""
    return lambda node, shapes: math.prod(shapes(node.output[0])) * math.prod(shapes(node.input[weight])[1:])


def _transposed_convolution(node: Any, shapes: Shapes) -> int:
    """Each input value is spread over one filter: [C_in, C_out / groups, *kernel]."""
    return math.prod(shapes(node.input[0])) * math.prod(shapes(node.input[1])[1:])


def _product(node: Any, shapes: Shapes) -> int:
    return math.prod(shapes(node.output[0])) * shapes(node.input[0])[-1]


def _gemm(node: Any, shapes: Shapes) -> int:
    summed = shapes(node.input[0])[0 if _attribute(node, "transA", 0) else 1]
    return math.prod(shapes(node.output[0])) * summed


def _einsum(node: Any, shapes: Shapes) -> int:
    """Of two operands: one multiply-accumulate for each combination of their indices."""
    equation = _attribute(node, "equation", b"").decode().replace(" ", "")
    terms = equation.split("->")[0].split(",")
    if len(terms) != 2 or "..." in equation:
        raise ModelLoadError(f"the cost of the Einsum '{equation}' is not counted")
    sizes: dict[str, int] = {}
    for term, name in zip(terms, node.input, strict=True):
        sizes |= dict(zip(term, shapes(name), strict=True))
    return math.prod(sizes.values())


def _attention(node: Any, shapes: Shapes) -> int:
    """ONNX's Attention: queries times keys, then probabilities times values."""
    query, key, value = (shapes(name) for name in node.input[:3])
    if len(query) == 4:
        batch, heads, rows, width = query
        return batch * heads * rows * key[2] * (width + value[3])
    heads, key_heads = int(_attribute(node, "q_num_heads", 1)), int(_attribute(node, "kv_num_heads", 1))
    batch, rows, width = query
    return batch * rows * key[1] * (width + heads * (value[2] // key_heads))


_FORMULAS: Mapping[str, Callable[[Any, Shapes], int]] = {
    "Conv": _convolution(1),
    "ConvInteger": _convolution(1),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed_convolution,
    "MatMul": _product,
    "MatMulInteger": _product,
    "QLinearMatMul": _product,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "Attention": _attention,
}
