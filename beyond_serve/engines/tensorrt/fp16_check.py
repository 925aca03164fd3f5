"""Whether a model still answers alike in float16, whose numbers end at 65504."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from beyond_serve.engines.cores import available_cores
from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.engine_info import describe_engine
from beyond_serve.engines.foreign import one_line
from beyond_serve.engines.graph import IMAGE_INPUT, with_image_input
from beyond_serve.engines.image_input import ImageInput
from beyond_serve.engines.onnxruntime_engine import Session
from beyond_serve.engines.precision import disagreement, probe_images
from beyond_serve.errors import ModelLoadError


def check_fp16(proto: Any, converted: Any, description: ModelDescription, image: ImageInput) -> None:
    """Compare on the CPU, by images that are made up.

    Raises:
        ModelLoadError: the converted model fails, or gives other answers.
    """
    info = describe_engine(description, "onnxruntime", "fp16", image.host_shape, None, ())
    rows = probe_images(image.host_shape, description.batch or 2)
    hint = "build it with --precision bf16, which keeps float32's range, or fp32"
    try:
        reference, reduced = (_session(model, image).run(rows) for model in (proto, converted))
    except Exception as error:  # ONNX Runtime's errors have no common base but Exception
        raise ModelLoadError(f"the model does not run in fp16: {one_line(error)}", hint) from error
    wrong = disagreement(reference, reduced, info)
    if wrong is not None:
        raise ModelLoadError(f"in fp16 the model answers otherwise than in fp32: {wrong}", hint)


def _session(proto: Any, image: ImageInput) -> Session:
    return Session(with_image_input(proto, image), Path(), available_cores(), IMAGE_INPUT)
