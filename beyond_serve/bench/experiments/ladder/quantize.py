"""A model's int8 copy by ONNX Runtime's static quantisation, calibrated on seeded pictures.

Its cost is that of an int8 model. What it still recognises is not asked: calibration wants the model's own
images, which a benchmark has not.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.foreign import require
from beyond_serve.engines.image_input import image_input
from beyond_serve.engines.precision import probe_images
from beyond_serve.errors import ModelLoadError
from beyond_serve.preprocess.presets import load_plan

_IMAGES = 8


def quantize(path: Path, target: Path) -> None:
    """Write the int8 copy of `path`.

    Raises:
        ModelLoadError: the model cannot be quantised.
    """
    description = describe_model(str(path))
    plan, _ = load_plan(path, description.image_size)
    given, _ = image_input(description, plan.normalization, plan.output_shape[:2])
    pixels = probe_images(plan.output_shape, _IMAGES).astype(np.float32)
    if given.gain is None or given.offset is None or given.channels != 3:
        raise ModelLoadError("only models of float colour images are quantised here", "quantise it yourself")
    rows = pixels * given.gain - given.offset
    if given.layout == "NCHW":
        rows = rows.transpose(0, 3, 1, 2)
    batches = iter([{given.name: np.ascontiguousarray(row[None])} for row in rows])
    tools: Any = require("onnxruntime.quantization")

    class Pictures(tools.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            return next(batches, None)

    try:
        with _silence():
            # Unsigned activations and signed weights are what x86's int8 instructions multiply.
            tools.quantize_static(
                str(path),
                str(target),
                Pictures(),
                per_channel=True,
                activation_type=tools.QuantType.QUInt8,
                weight_type=tools.QuantType.QInt8,
            )
    except Exception as error:  # its errors have no common base
        raise ModelLoadError(f"'{path}' cannot be quantised: {error}", "leave the int8 rung out") from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """It prints advice with the root logger."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        logger.setLevel(level)
