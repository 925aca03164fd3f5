"""The conversion of images in front of an ONNX model, as TensorRT can take it."""

from __future__ import annotations

from typing import Any

from beyond_serve.engines.foreign import require
from beyond_serve.engines.graph import IMAGE_INPUT, with_image_input
from beyond_serve.engines.image_input import ImageInput
from beyond_serve.errors import ModelLoadError

_FLOAT, _UINT8 = 1, 2
_AS_FLOATS = f"{IMAGE_INPUT}/float"


def with_images_for_tensorrt(proto: Any, image: ImageInput) -> Any:
    """As `with_image_input`; but as TensorRT does nothing with uint8 but cast it, pixels are floats at once.

    Raises:
        ModelLoadError: the model itself computes in uint8.
    """
    result = with_image_input(proto, image)
    graph = result.graph
    if image.datatype == "UINT8":
        _check_casts(proto, image.name)
    for node in graph.node:
        node.input[:] = [_AS_FLOATS if name == IMAGE_INPUT else name for name in node.input]
        if node.name.startswith(IMAGE_INPUT) and node.op_type == "Cast" and node.attribute[0].i == _UINT8:
            # A cast to uint8 cuts off, and so does this.
            node.op_type = "Floor"
            del node.attribute[:]
    cast = require("onnx.helper", "onnx").make_node(
        "Cast", [IMAGE_INPUT], [_AS_FLOATS], f"{IMAGE_INPUT}/Cast", to=_FLOAT
    )
    nodes = [cast, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return result


def _check_casts(proto: Any, name: str) -> None:
    for node in proto.graph.node:
        if name in node.input and node.op_type != "Cast":
            raise ModelLoadError(
                f"the model computes in uint8 ({node.op_type} is its first operator); TensorRT does not",
                "export the model with a float input, or with a Cast as its first operator",
            )
