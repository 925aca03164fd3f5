"""Whether a model still answers alike in a smaller type: float16 ends at 65504, bfloat16 keeps 8 bits."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.cores import available_cores
from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.engine_info import describe_engine
from beyond_serve.engines.foreign import one_line
from beyond_serve.engines.graph import IMAGE_INPUT, with_image_input
from beyond_serve.engines.image_input import ImageInput
from beyond_serve.engines.onnxruntime_engine import Session
from beyond_serve.engines.precision import disagreement, probe_images
from beyond_serve.errors import ModelLoadError

Outputs = Mapping[str, NDArray[np.generic]]

_HINTS = {
    "fp16": "build it with --precision bf16, which keeps float32's range, or fp32",
    "bf16": "build it with --precision fp32, or fp16 if its values are small",
}


def check_reduced(
    proto: Any, converted: Any, precision: str, description: ModelDescription, image: ImageInput
) -> tuple[str, ...]:
    """Compare with float32 on the CPU, by images that are made up; returns a warning if that cannot be done.

    Args:
        precision: "fp16", which ONNX Runtime computes, or "bf16", which only OpenVINO does.

    Raises:
        ModelLoadError: the converted model fails, or gives other answers.
    """
    run = _run_onnxruntime if precision == "fp16" else _run_openvino
    if run is _run_openvino and importlib.util.find_spec("openvino") is None:
        return (f"nobody compared {precision} with fp32: that needs OpenVINO, which is not installed",)
    info = describe_engine(description, "build", precision, image.host_shape, None, ())
    rows = probe_images(image.host_shape, description.batch or 2)
    try:
        reference = _run_onnxruntime(with_image_input(proto, image), rows)
        reduced = run(with_image_input(converted, image), rows)
    except Exception as error:  # these libraries' errors have no common base but Exception
        raise ModelLoadError(
            f"the model does not run in {precision}: {one_line(error)}", _HINTS[precision]
        ) from error
    wrong = disagreement(reference, reduced, info)
    if wrong is not None:
        raise ModelLoadError(
            f"in {precision} the model answers otherwise than in fp32: {wrong}", _HINTS[precision]
        )
    return ()


def _run_onnxruntime(proto: Any, rows: NDArray[np.uint8]) -> Outputs:
    return Session(proto, Path(), available_cores(), IMAGE_INPUT).run(rows)


def _run_openvino(proto: Any, rows: NDArray[np.uint8]) -> Outputs:
    import openvino

    model = openvino.Core().compile_model(openvino.Core().read_model(proto.SerializeToString()), "CPU")
    found = model(rows)
    return {output.any_name: np.array(found[output]) for output in model.outputs}
