"""Read what an OpenVINO model says of itself: an IR file, or anything OpenVINO has read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from beyond_serve.engines.foreign import one_line, require
from beyond_serve.engines.onnx_file import GraphFacts
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.errors import ModelLoadError

DATATYPES = {
    "f32": "FP32", "f16": "FP16", "bf16": "BF16", "f64": "FP64", "boolean": "BOOL", "string": "BYTES",
    "u8": "UINT8", "u16": "UINT16", "u32": "UINT32", "u64": "UINT64",
    "i8": "INT8", "i16": "INT16", "i32": "INT32", "i64": "INT64",
}  # fmt: skip

_KEEPS_VALUES = {"Convert", "Reshape", "Squeeze", "Unsqueeze"}
_PROBABILITIES = {"Softmax", "SoftMax", "Sigmoid"}


def read_openvino(path: Path) -> Any:
    """The openvino.Model in `path` (IR or ONNX).

    Raises:
        ModelLoadError: OpenVINO cannot read it, or an IR's weights are missing.
    """
    openvino = require("openvino")
    if path.suffix == ".xml" and not _looks_like_ir(path):
        raise ModelLoadError(f"'{path}' is no OpenVINO model", "give the .xml of an IR, or an .onnx file")
    weights = path.with_suffix(".bin")
    if path.suffix == ".xml" and not weights.is_file():
        raise ModelLoadError(
            f"'{path}' lacks its weights '{weights}'", "copy both files of the IR to one folder"
        )
    try:
        return openvino.Core().read_model(path)
    except Exception as error:
        raise ModelLoadError(
            f"OpenVINO cannot read '{path}': {one_line(error)}",
            "export the model again, or try --engine onnxruntime"
            if path.suffix == ".onnx"
            else "export it again",
        ) from error


def _looks_like_ir(path: Path) -> bool:
    # Asked first, since OpenVINO would try all its formats, and each writes to stderr.
    with path.open("rb") as file:
        return b"<net" in file.read(4096)


def read_facts(model: Any) -> GraphFacts:
    inputs = tuple(spec(port, f"input{index}") for index, port in enumerate(model.inputs))
    outputs = tuple(spec(port, f"output{index}") for index, port in enumerate(model.outputs))
    probabilities = frozenset(
        output.name
        for output, port in zip(outputs, model.outputs, strict=True)
        if _ends_in_probabilities(port)
    )
    quantized = any(op.get_type_name() == "FakeQuantize" for op in model.get_ops())
    return GraphFacts(inputs, outputs, probabilities, quantized)


def spec(port: Any, unnamed: str) -> TensorSpec:
    names = port.get_names()
    name = port.get_any_name() if names else unnamed
    partial = port.get_partial_shape()
    shape = (
        () if partial.rank.is_dynamic else tuple(dim.get_length() if dim.is_static else -1 for dim in partial)
    )
    kind = port.get_element_type().get_type_name()
    return TensorSpec(name, DATATYPES.get(kind, "UNKNOWN"), shape)


def _ends_in_probabilities(port: Any) -> bool:
    node = port.get_node().input_value(0).get_node()
    while node.get_type_name() in _KEEPS_VALUES:
        node = node.input_value(0).get_node()
    return node.get_type_name() in _PROBABILITIES
