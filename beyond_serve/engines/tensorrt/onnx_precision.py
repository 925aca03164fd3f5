"""An ONNX model in another precision: TensorRT 11 and TensorRT-RTX compute in what the model's file says."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import TopologicalSorter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.foreign import one_line, require
from beyond_serve.engines.onnx_file import read_facts
from beyond_serve.errors import ModelLoadError

PRECISIONS = ("fp32", "fp16", "bf16")
# onnx.TensorProto's numbers.
_FLOAT, _FLOAT16, _BFLOAT16 = 1, 10, 16
_NAMES = {_FLOAT: "fp32", _FLOAT16: "fp16", _BFLOAT16: "bf16"}


def own_precision(proto: Any) -> str:
    """What most of its weights are in; "int8" if it is quantized."""
    if read_facts(proto).quantized:
        return "int8"
    sizes = dict.fromkeys(_NAMES, 0)
    for tensor in _tensors(proto.graph):
        if tensor.data_type in sizes:
            sizes[tensor.data_type] += int(np.prod(tensor.dims))
    return _NAMES[max(sizes, key=lambda kind: (sizes[kind], kind == _FLOAT))]


def in_precision(proto: Any, precision: str) -> Any:
    """A copy of a float32 model that computes in `precision`; its inputs and outputs stay float32.

    Args:
        proto: with its weights inside.

    Raises:
        ModelLoadError: it cannot be converted.
    """
    if precision == "fp32":
        return proto
    float16 = require("onnxruntime.transformers.float16", "onnxruntime")
    try:
        half = float16.convert_float_to_float16(proto, keep_io_types=True)
    except Exception as error:  # the converter's errors have no common base but Exception
        raise ModelLoadError(
            f"the model cannot be converted to {precision}: {one_line(error)}",
            "build it with --precision fp32",
        ) from error
    _sort(half.graph)
    return half if precision == "fp16" else _as_bfloat16(half, proto)


def _sort(graph: Any) -> None:
    """Producers before consumers, as ONNX wants it; the converter appends its casts."""
    producers = {name: index for index, node in enumerate(graph.node) for name in node.output}
    needs = {
        index: {producers[name] for inner in _nodes_of(node) for name in inner.input if name in producers}
        for index, node in enumerate(graph.node)
    }
    ordered = [graph.node[index] for index in TopologicalSorter(needs).static_order()]
    copies = [type(node).FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)


def _as_bfloat16(half: Any, original: Any) -> Any:
    """`half` with bfloat16 in float16's place, and the weights of `original`, which float16 may have cut."""
    weights = {tensor.name: tensor for tensor in original.graph.initializer}
    to_array = require("onnx.numpy_helper", "onnx").to_array
    for tensor in _tensors(half.graph):
        if tensor.data_type != _FLOAT16:
            continue
        source = weights.get(tensor.name, tensor)
        source = source if source.data_type == _FLOAT else tensor
        bits = bfloat16_bits(to_array(source).astype(np.float32))
        for field in ("float_data", "int32_data", "raw_data"):
            tensor.ClearField(field)
        tensor.data_type = _BFLOAT16
        tensor.raw_data = bits.astype("<u2").tobytes()
    for node in _nodes(half.graph):
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == _FLOAT16:
                attribute.i = _BFLOAT16
    for value in (*half.graph.value_info, *half.graph.input, *half.graph.output):
        if value.type.tensor_type.elem_type == _FLOAT16:
            value.type.tensor_type.elem_type = _BFLOAT16
    return half


def bfloat16_bits(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest bfloat16 of each, ties to even, as its 16 bits."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)
    # Rounding must not carry a NaN's payload into another number.
    return np.where(np.isnan(values), np.uint64(0x7FC0), rounded).astype(np.uint16)


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield from _nodes_of(node)


def _nodes_of(node: Any) -> Iterator[Any]:
    """The node, and those of the graphs inside it."""
    yield node
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            yield from _nodes(inner)


def _tensors(graph: Any) -> Iterator[Any]:
    """Weights and constants, those of inner graphs too."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)
