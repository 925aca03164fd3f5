"""From a torch module to an ONNX model with a free batch axis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beyond_serve.engines.foreign import one_line, require
from beyond_serve.errors import ModelLoadError
from beyond_serve.zoo import torch_extra

INPUT_NAME = "pixel_values"
OUTPUT_NAME = "logits"
OLDEST_OPSET, DEFAULT_OPSET, NEWEST_OPSET = 18, 18, 23
"""torch's exporter writes 18 and newer; the server reads what its ONNX Runtime does."""

_EXAMPLES = 2  # torch.export takes a batch of 1 for a constant
_LARGEST_BYTES = 2_000_000_000  # one protobuf message; larger files need weights beside them


def to_onnx(module: Any, image_size: int, opset: int) -> Any:
    """An onnx.ModelProto: `pixel_values`, float32 [batch, 3, H, W] → `logits`, float32 [batch, classes].

    It carries nothing of the machine that made it.

    Raises:
        ModelLoadError: torch cannot export the network, or it is too large for one file.
    """
    size = 4 * sum(parameter.numel() for parameter in module.parameters())
    if size > _LARGEST_BYTES:
        raise ModelLoadError(
            f"the network's weights are {size / 1e9:.1f} GB; one ONNX file holds 2 GB", "export a smaller one"
        )
    torch = torch_extra.load("torch")
    example = torch.zeros(_EXAMPLES, 3, image_size, image_size)
    try:
        with torch_extra.quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                (example,),
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                opset_version=opset,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # exporting runs the model's own code
        raise ModelLoadError(
            f"torch {torch.__version__} cannot export this network: {_cause(error)}",
            "another --image-size or --opset may do",
        ) from error
    proto = program.model_proto
    _forget_machine(proto)
    return proto


def _cause(error: BaseException) -> str:
    """What the network's code said, below the exporter's own page of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(error)


def _forget_machine(proto: Any) -> None:
    """Drops stack traces, which name folders of this machine, and inferred shapes, which readers infer."""
    del proto.graph.value_info[:]
    for owner in (proto.graph, *proto.functions):
        del owner.metadata_props[:]
        for node in owner.node:
            del node.metadata_props[:]
            node.ClearField("doc_string")
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        del value.metadata_props[:]


def write(proto: Any, path: Path, properties: Mapping[str, str]) -> None:
    """Check `proto` and write it with `properties` in its metadata_props.

    Raises:
        ModelLoadError: it is no valid ONNX.
        OSError: it cannot be written.
    """
    onnx = require("onnx")
    onnx.helper.set_model_props(proto, dict(properties))
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise ModelLoadError(f"the exported graph is no valid ONNX: {one_line(error)}") from error
    path.write_bytes(proto.SerializeToString(deterministic=True))
