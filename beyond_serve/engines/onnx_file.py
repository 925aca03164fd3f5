"""Read what an ONNX file says of itself, without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from beyond_serve.engines.foreign import one_line, require
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.errors import ModelLoadError

# onnx.TensorProto's numbers, which are part of the format.
DATATYPES = {
    1: "FP32", 2: "UINT8", 3: "INT8", 4: "UINT16", 5: "INT16", 6: "INT32", 7: "INT64",
    8: "BYTES", 9: "BOOL", 10: "FP16", 11: "FP64", 12: "UINT32", 13: "UINT64", 16: "BF16",
}  # fmt: skip

_KEEPS_VALUES = {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}
_PROBABILITIES = {"Softmax", "Sigmoid"}
_QUANTIZED = {
    "QuantizeLinear",
    "DequantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
}


class GraphFacts(NamedTuple):
    """What a file says, in whichever format.

    probabilities: the outputs that a Softmax or Sigmoid makes.
    quantized: the graph computes in int8.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    probabilities: frozenset[str]
    quantized: bool


def load_proto(path: Path) -> Any:
    """The onnx.ModelProto in `path`, external weights left where they are.

    Raises:
        ModelLoadError: it cannot be read, is no ONNX model, or lacks files it refers to.
    """
    onnx = require("onnx")
    try:
        proto = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except OSError as error:
        raise ModelLoadError(
            f"cannot read '{path}': {error.strerror or error}", "check the file's rights"
        ) from error
    except Exception as error:  # protobuf's DecodeError differs between its implementations
        raise _not_onnx(path, one_line(error)) from error
    if not proto.graph.node or not proto.graph.output:
        # Random bytes may parse as a message of unknown fields.
        raise _not_onnx(path, "it holds no graph")
    _check_external_data(onnx, proto, path)
    return proto


def _not_onnx(path: Path, why: str) -> ModelLoadError:
    return ModelLoadError(
        f"'{path}' is no ONNX model, or is truncated: {why}", "export or download it again; check its size"
    )


def _check_external_data(onnx: Any, proto: Any, path: Path) -> None:
    for tensor in proto.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        beside = path.parent / entries.get("location", "")
        if not beside.is_file():
            raise ModelLoadError(
                f"'{path}' keeps its weights in '{beside}', which does not exist",
                "copy that file beside the model, under the same name",
            )
        end = int(entries.get("offset", 0)) + int(entries.get("length", 0))
        if beside.stat().st_size < end:
            raise ModelLoadError(
                f"'{beside}', the weights of '{path}', is truncated: {beside.stat().st_size} of {end} bytes",
                "copy that file again",
            )


def read_facts(proto: Any) -> GraphFacts:
    """Inputs, outputs and the ends of the graph. Old files list weights as inputs; these are left out."""
    graph = proto.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = tuple(_spec(value) for value in graph.input if value.name not in weights)
    if any(not value.type.tensor_type.HasField("shape") for value in graph.output):
        graph = _inferred(proto).graph
    outputs = tuple(_spec(value) for value in graph.output)
    producers = {name: node for node in graph.node for name in node.output}
    probabilities = frozenset(spec.name for spec in outputs if _ends_in_probabilities(spec.name, producers))
    return GraphFacts(inputs, outputs, probabilities, any(node.op_type in _QUANTIZED for node in graph.node))


def _inferred(proto: Any) -> Any:
    inference = require("onnx.shape_inference", "onnx")
    try:
        return inference.infer_shapes(proto)
    except Exception:  # an inference that gives up leaves the shapes unknown, as they were
        return proto


def _spec(value: Any) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.dim_value > 0 else -1 for dim in tensor.shape.dim)
    return TensorSpec(value.name, DATATYPES.get(tensor.elem_type, "UNKNOWN"), shape)


def _ends_in_probabilities(name: str, producers: dict[str, Any]) -> bool:
    node = producers.get(name)
    while node is not None and node.op_type in _KEEPS_VALUES and node.input:
        node = producers.get(node.input[0])
    return node is not None and node.op_type in _PROBABILITIES
