"""Which inputs and outputs a model shows to clients of the protocol.

A model takes *either* `image` (BYTES [n], each element one encoded image) *or* its own tensor, already
preprocessed. Metadata lists both; where there are two, `/config` marks both as optional, which is how
perf_analyzer is told that one of them may be left out.
"""

from __future__ import annotations

from typing import Final

from beyond_serve.engines.protocol import EngineInfo, TensorSpec
from beyond_serve.wire.datatypes import BYTES

IMAGE_INPUT: Final = "image"

_IMAGE_SPEC: Final = TensorSpec(IMAGE_INPUT, BYTES, (-1,))


def takes_images(info: EngineInfo) -> bool:
    return info.takes_encoded or info.image_shape is not None


def tensor_input(info: EngineInfo) -> TensorSpec | None:
    """The input that takes preprocessed rows, or None: rows of several inputs are not batched here."""
    return _free_batch(info.inputs[0]) if len(info.inputs) == 1 else None


def listed_inputs(info: EngineInfo) -> tuple[TensorSpec, ...]:
    """The alternatives, `image` first; each alone makes a request."""
    tensor = tensor_input(info)
    images = (_IMAGE_SPEC,) if takes_images(info) else ()
    return images if tensor is None else (*images, tensor)


def listed_outputs(info: EngineInfo) -> tuple[TensorSpec, ...]:
    return tuple(_free_batch(spec) for spec in info.outputs)


def _free_batch(spec: TensorSpec) -> TensorSpec:
    """Rows are batched one by one, so any number may be sent whatever the model's own batch is."""
    return TensorSpec(spec.name, spec.datatype, (-1, *spec.shape[1:]))


def described(specs: tuple[TensorSpec, ...]) -> str:
    """For error messages: `image BYTES [-1], input FP32 [-1, 3, 224, 224]`."""
    return ", ".join(f"{spec.name} {spec.datatype} {list(spec.shape)}" for spec in specs) or "none"
