"""Writes the demo network as ONNX, without torch, and proves that the file computes what the network does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from beyond_serve.demo.layers import Array, Convolution, Dense, MaxPool, Relu
from beyond_serve.demo.network import CLASSES, GRID_SIDE, IMAGE_SIDE, DigitNetwork
from beyond_serve.demo.train import predict
from beyond_serve.errors import ModelLoadError

INPUT_NAME = "pixel_values"
OUTPUT_NAME = "logits"
OPSET = 17
IR_VERSION = 8
TOLERANCE = 1e-3
"""Largest difference of a logit between the file and the network; logits are of the order of 10."""


def to_onnx(network: DigitNetwork, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Input `pixel_values`, float32 [N, 3, 32, 32], normalised; output `logits`, float32 [N, 10]."""
    nodes: list[onnx.NodeProto] = []
    initializers: list[onnx.TensorProto] = []
    tensor = INPUT_NAME
    for number, layer in enumerate(network.layers):
        if isinstance(layer, Convolution | Dense):
            weights = [_onnx_weights(layer), layer.weights[1]]
            names = [f"layer{number}.weight", f"layer{number}.bias"]
            initializers += [numpy_helper.from_array(w, n) for w, n in zip(weights, names, strict=True)]
        else:
            names = []
        last = number == len(network.layers) - 1
        if isinstance(layer, Dense):
            nodes.append(helper.make_node("Flatten", [tensor], ["flat"], axis=1))
            tensor = "flat"
        output = OUTPUT_NAME if last else f"layer{number}"
        nodes.append(_node(layer, [tensor, *names], output))
        tensor = output
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["N", 3, IMAGE_SIDE, IMAGE_SIDE])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", CLASSES])],
        initializers,
    )
    model = helper.make_model(
        graph,
        producer_name="beyond-serve",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


def verify(path: Path, network: DigitNetwork, images: Array) -> float:
    """Largest difference of a logit between ONNX Runtime on the file and the network itself.

    images: float32 [N, 32, 32, 3], normalised. Raises ModelLoadError if it exceeds TOLERANCE.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    (logits,) = session.run([OUTPUT_NAME], {INPUT_NAME: planes})
    difference = float(np.abs(logits - predict(network, images)).max())
    if not difference <= TOLERANCE:
        raise ModelLoadError(
            f"{path}: the exported model's logits differ from the trained network's by {difference:.2g}",
            "this is a defect of the exporter or of ONNX Runtime; please report it",
        )
    return difference


def _node(layer: object, inputs: list[str], output: str) -> onnx.NodeProto:
    match layer:
        case Convolution():
            pad = layer.kernel // 2
            return helper.make_node("Conv", inputs, [output], pads=[pad] * 4, strides=[layer.stride] * 2)
        case Relu():
            return helper.make_node("Relu", inputs, [output])
        case MaxPool():
            return helper.make_node("MaxPool", inputs, [output], kernel_shape=[2, 2], strides=[2, 2])
        case Dense():
            return helper.make_node("Gemm", inputs, [output])
        case _:
            raise AssertionError(f"no ONNX operator for {layer!r}")


def _onnx_weights(layer: Convolution | Dense) -> Array:
    """From channels last to ONNX's channels first."""
    weight = layer.weights[0]
    if isinstance(layer, Convolution):
        cube = weight.reshape(layer.kernel, layer.kernel, layer.inputs, layer.outputs)
        return np.ascontiguousarray(cube.transpose(3, 2, 0, 1))
    grid = weight.reshape(GRID_SIDE, GRID_SIDE, -1, CLASSES)
    return np.ascontiguousarray(grid.transpose(2, 0, 1, 3)).reshape(-1, CLASSES)
