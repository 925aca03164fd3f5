"""Build the graphs that OpenVINO compiles: with images as input, and with a free batch axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from beyond_serve.engines.batch_axis import freed_shape
from beyond_serve.engines.foreign import require
from beyond_serve.engines.image_input import ImageInput


def with_image_input(model: Any, image: ImageInput, batch: int | None) -> Any:
    """A copy of `model` whose input is uint8 [batch, H, W, 3] RGB. `batch` None is a free axis."""
    ov = require("openvino")
    preprocess = require("openvino.preprocess", "openvino")
    graph = model.clone()
    # A size that the model leaves free is fixed here: kernels are chosen for it once.
    graph.reshape({graph.input(0): ov.PartialShape([-1 if batch is None else batch, *image.row_shape])})
    steps = preprocess.PrePostProcessor(graph)
    port = steps.input(0)
    port.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    port.tensor().set_color_format(preprocess.ColorFormat.RGB)
    port.model().set_layout(ov.Layout(image.layout))
    _fill(port.preprocess(), image)
    return steps.build()


def _fill(steps: Any, image: ImageInput) -> None:
    """Steps in channels-last order; the conversion to the model's dtype and layout is implied."""
    ov = require("openvino")
    ops = require("openvino.opset13", "openvino")
    if image.reverse:
        steps.reverse_channels()
    if image.gain is not None or image.channels == 1:
        steps.convert_element_type(ov.Type.f32)
    if image.channels == 1:
        # By the weights of image_input.LUMA.
        steps.convert_color(require("openvino.preprocess", "openvino").ColorFormat.GRAY)
    if image.gain is not None and image.offset is not None:
        gain, offset = image.gain, image.offset
        if (gain != 1).any():
            steps.custom(lambda value: ops.multiply(value, ops.constant(gain)).output(0))
        if offset.any():
            steps.custom(lambda value: ops.subtract(value, ops.constant(offset)).output(0))
    elif image.channels == 1:
        # A conversion to uint8 cuts off, so half a level first.
        steps.custom(lambda value: ops.floor(ops.add(value, ops.constant(np.float32(0.5)))).output(0))
        steps.convert_element_type(ov.Type.u8)


def with_free_batch(model: Any, row: tuple[int, ...], probe: tuple[int, ...]) -> Any | None:
    """A copy of `model` with a free batch axis, None if its shapes forbid it outright.

    Args:
        row: a row's shape as the model declares it, -1 where free.
        probe: a row's shape without free sizes.
    """
    ov = require("openvino")
    graph = model.clone()
    _free_reshapes(graph, graph.input(0).get_partial_shape()[0].get_length())
    try:
        graph.reshape({graph.input(0): ov.PartialShape([-1, *probe])})
        shapes = [port.get_partial_shape() for port in graph.outputs]
        if not all(shape.rank.is_static and len(shape) and shape[0].is_dynamic for shape in shapes):
            return None
        graph.reshape({graph.input(0): ov.PartialShape([-1, *row])})
    except RuntimeError:
        return None
    return graph


def _free_reshapes(graph: Any, batch: int) -> None:
    """Free the batch in the constant shapes of Reshape nodes, where exporters write it."""
    ops = require("openvino.opset13", "openvino")
    for node in graph.get_ops():
        if node.get_type_name() != "Reshape" or node.input_value(1).get_node().get_type_name() != "Constant":
            continue
        shape = freed_shape(node.input_value(1).get_node().get_data(), batch)
        # 0 keeps the input's axis only in nodes that say so.
        if shape is not None and (shape[0] != 0 or node.get_attributes()["special_zero"]):
            node.input(1).replace_source_output(ops.constant(shape).output(0))
