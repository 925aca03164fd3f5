"""The sizes of all tensors of an ONNX graph, for one image, without running it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from beyond_serve.engines.foreign import one_line, require
from beyond_serve.errors import ModelLoadError

Shape = tuple[int, ...]
Shapes = Callable[[str], Shape]

_DATA_KEPT = 4096
"""Elements. Shape inference reads small tensors (they may be shapes), and of larger ones only their sizes."""
_ROUNDS = 4
"""Of folding and inferring; exporters compute sizes from sizes once or twice."""


def infer(proto: Any, image_size: tuple[int, int] | None) -> Any:
    """The graph of an onnx.ModelProto with the shapes that follow from a batch of one image.

    image_size: (H, W), for the free axes of the input beside the batch. Weights' data need not be loaded.

    Raises:
        ModelLoadError: shapes contradict each other.
    """
    light = _without_data(proto)
    if light.functions:
        light = require("onnx.inliner", "onnx").inline_local_functions(light)
    weights = {tensor.name for tensor in light.graph.initializer}
    for value in light.graph.input:
        if value.name not in weights:
            _fix(value.type.tensor_type.shape, image_size)
    light = _inferred(light)
    for _ in range(_ROUNDS):
        # onnx follows values through Shape, Gather, Concat and the like; what it does not, is computed here.
        if not _unknown(light.graph) or not _fold(light):
            break
        light = _inferred(light)
    return light.graph


def shapes_of(graph: Any) -> Shapes:
    """Looks sizes up in an inferred graph; raises ModelLoadError for those that are not known."""
    known = _known(graph)

    def shape_of(name: str) -> Shape:
        shape = known.get(name)
        if shape is None:
            raise ModelLoadError(f"the size of the graph's tensor '{name}' cannot be inferred")
        return shape

    return shape_of


def _without_data(proto: Any) -> Any:
    """A copy with large tensors' names and sizes only, and without shapes inferred for other batches."""
    onnx = require("onnx")
    light = onnx.ModelProto(ir_version=proto.ir_version)
    light.opset_import.extend(proto.opset_import)
    light.functions.extend(proto.functions)
    light.graph.name = proto.graph.name
    light.graph.input.extend(proto.graph.input)
    light.graph.output.extend(proto.graph.output)
    light.graph.node.extend(proto.graph.node)
    for tensor in proto.graph.initializer:
        if math.prod(tensor.dims) <= _DATA_KEPT and tensor.data_location != onnx.TensorProto.EXTERNAL:
            light.graph.initializer.append(tensor)
        else:
            light.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    for value in light.graph.output:
        value.type.tensor_type.ClearField("shape")
    return light


def _fix(shape: Any, image_size: tuple[int, int] | None) -> None:
    """The batch becomes 1; other free axes become the image's, in order."""
    free = list(image_size or ())
    for axis, dim in enumerate(shape.dim):
        if axis == 0:
            dim.dim_value = 1
        elif dim.dim_value <= 0 and free:
            dim.dim_value = free.pop(0)


def _inferred(light: Any) -> Any:
    try:
        return require("onnx.shape_inference", "onnx").infer_shapes(light, data_prop=True)
    except Exception as error:  # shape inference raises its own kinds, by version
        raise ModelLoadError(f"the graph's shapes cannot be inferred: {one_line(error)}") from error


def _known(graph: Any) -> dict[str, Shape]:
    known: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            known[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    return known


def _unknown(graph: Any) -> bool:
    known = _known(graph)
    return any(name not in known for node in graph.node for name in node.output if name)


def _fold(light: Any) -> bool:
    """Replace nodes that compute small constants, sizes above all, by these; False if there are none."""
    numpy_helper = require("onnx.numpy_helper", "onnx")
    graph, known = light.graph, _known(light.graph)
    constants = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if math.prod(tensor.dims) <= _DATA_KEPT and _has_data(tensor)
    }
    kept = []
    for node in graph.node:
        values = _values(light, node, known, constants)
        if values is None:
            kept.append(node)
            continue
        for name, value in zip(node.output, values, strict=True):
            constants[name] = value
            graph.initializer.append(numpy_helper.from_array(value, name))
    if len(kept) == len(graph.node):
        return False
    del graph.node[:], graph.value_info[:]
    graph.node.extend(kept)
    return True


def _has_data(tensor: Any) -> bool:
    data = tensor.raw_data or tensor.int64_data or tensor.int32_data or tensor.float_data
    return bool(data) or math.prod(tensor.dims) == 0


def _values(light: Any, node: Any, known: dict[str, Shape], constants: dict[str, Any]) -> list[Any] | None:
    """What `node` computes, None if that depends on the image or is not small."""
    if node.op_type == "Shape" and node.input[0] in known:
        ends = {attribute.name: attribute.i for attribute in node.attribute}
        return [np.array(known[node.input[0]], np.int64)[ends.get("start") : ends.get("end")]]
    if not node.input or any(name and name not in constants for name in node.input):
        return None
    onnx = require("onnx")
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.helper.make_empty_tensor_value_info(name) for name in node.input if name],
        [onnx.helper.make_empty_tensor_value_info(name) for name in node.output],
    )
    model = onnx.helper.make_model(graph, opset_imports=light.opset_import)
    try:
        evaluator = require("onnx.reference", "onnx").ReferenceEvaluator(model)
        values = evaluator.run(None, {name: constants[name] for name in node.input if name})
    except Exception:  # an operator that the evaluator lacks leaves its result unknown, as it was
        return None
    if any(not isinstance(value, np.ndarray | np.generic) or value.size > _DATA_KEPT for value in values):
        return None
    return [np.asarray(value) for value in values]
