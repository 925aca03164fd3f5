"""ONNX graph surgery: put the conversion of images in front of a model, and free its batch axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from beyond_serve.engines.batch_axis import freed_shape
from beyond_serve.engines.foreign import require
from beyond_serve.engines.image_input import LUMA, ImageInput
from beyond_serve.errors import ModelLoadError

IMAGE_INPUT = "beyond_image"
"""The new input: uint8 [batch, H, W, 3] RGB."""

_OLDEST_OPSET = 7  # the first whose Mul and Sub broadcast
_ELEMENT_TYPES = {"FP32": 1, "UINT8": 2, "FP16": 10}


def with_image_input(proto: Any, image: ImageInput) -> Any:
    """A copy of `proto` whose input is uint8 [batch, H, W, 3] RGB.

    The model's own input becomes the value that the new nodes make, so nothing behind it changes.

    Raises:
        ModelLoadError: the model's opset is too old.
    """
    onnx = require("onnx")
    opset = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < _OLDEST_OPSET:
        raise ModelLoadError(
            f"the model's ONNX opset is {opset}; ONNX Runtime with images needs {_OLDEST_OPSET} or newer",
            "use --engine openvino, or convert the model with onnx.version_converter",
        )
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    builder = _Prefix(onnx.helper, onnx.numpy_helper)
    builder.build(image)
    batch = next(value for value in proto.graph.input if value.name == image.name).type.tensor_type.shape.dim[
        0
    ]
    size = batch.dim_value if batch.dim_value > 0 else "batch"
    graph = result.graph
    kept = [value for value in graph.input if value.name != image.name]
    own = onnx.helper.make_tensor_value_info(IMAGE_INPUT, _ELEMENT_TYPES["UINT8"], [size, *image.host_shape])
    nodes = [*builder.nodes, *proto.graph.node]
    del graph.input[:], graph.node[:]
    graph.input.extend([own, *kept])
    graph.node.extend(nodes)
    graph.initializer.extend(builder.weights)
    return result


class _Prefix:
    """The nodes that turn `IMAGE_INPUT` into the model's input, in channels-last order until the end."""

    def __init__(self, helper: Any, numpy_helper: Any) -> None:
        self._helper = helper
        self._numpy_helper = numpy_helper
        self._value = IMAGE_INPUT
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def build(self, image: ImageInput) -> None:
        if image.reverse:
            self._add("Gather", np.array([2, 1, 0], np.int64), axis=3)
        made = self._values(image)
        if made != image.datatype:
            self._add("Cast", to=_ELEMENT_TYPES[image.datatype])
        if image.layout == "NCHW":
            self._add("Transpose", perm=[0, 3, 1, 2])
        if not self.nodes:
            self._add("Identity")
        self.nodes[-1].output[0] = image.name

    def _values(self, image: ImageInput) -> str:
        """Grey and normalisation; returns the datatype that comes out."""
        if image.gain is None and image.channels == 3:
            return "UINT8"
        self._add("Cast", to=_ELEMENT_TYPES["FP32"])
        if image.channels == 1:
            self._add("MatMul", np.array(LUMA, np.float32).reshape(3, 1))
        if image.gain is None or image.offset is None:
            # A cast to uint8 cuts off, so half a level first.
            self._add("Add", np.array(0.5, np.float32))
            return "FP32"
        if (image.gain != 1).any():
            self._add("Mul", image.gain)
        if image.offset.any():
            self._add("Sub", image.offset)
        return "FP32"

    def _add(self, op: str, weight: Any = None, **attributes: Any) -> None:
        inputs = [self._value]
        step = len(self.nodes)
        if weight is not None:
            inputs.append(f"{IMAGE_INPUT}/weight{step}")
            self.weights.append(self._numpy_helper.from_array(weight, inputs[1]))
        self._value = f"{IMAGE_INPUT}/{step}"
        self.nodes.append(
            self._helper.make_node(op, inputs, [self._value], f"{IMAGE_INPUT}/{op}{step}", **attributes)
        )


def with_free_batch(proto: Any, input_name: str) -> Any:
    """A copy of `proto` that claims a free batch axis; whether it holds is for the caller to prove.

    Exporters write the batch into the constant shapes of Reshape nodes; there it is freed as well.
    """
    onnx = require("onnx")
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    graph = result.graph
    del graph.value_info[:]
    own = next(value for value in graph.input if value.name == input_name)
    batch = own.type.tensor_type.shape.dim[0].dim_value
    for value in [own, *graph.output]:
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    _free_reshapes(onnx, graph, batch)
    return result


def _free_reshapes(onnx: Any, graph: Any, batch: int) -> None:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    for index, node in enumerate(graph.node):
        tensor = constants.get(node.input[1]) if node.op_type == "Reshape" and len(node.input) > 1 else None
        if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
            continue
        shape = freed_shape(onnx.numpy_helper.to_array(tensor), batch)
        if shape is None:
            continue
        node.input[1] = f"{IMAGE_INPUT}/free_shape{index}"
        graph.initializer.append(onnx.numpy_helper.from_array(shape, node.input[1]))
