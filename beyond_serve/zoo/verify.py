"""Does the exported file compute what the network does?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.foreign import one_line, require
from beyond_serve.errors import ModelLoadError
from beyond_serve.zoo import torch_extra
from beyond_serve.zoo.onnx_graph import INPUT_NAME, OUTPUT_NAME
from beyond_serve.zoo.patches import patchy_images

Logits = NDArray[np.float32]

BATCHES = (1, 3)
TOLERANCE = 1e-3
"""Of the spread between images, see `judge`. Reordered float32 sums are some 1e-6 to 1e-4 of it."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """difference: largest of any logit. spread: how far a change of image moves a logit, at most."""

    difference: float
    spread: float

    @property
    def share(self) -> float:
        return self.difference / self.spread


def verify(path: Path, module: Any, image_size: int, seed: int) -> Agreement:
    """Run the file in ONNX Runtime and `module` in torch on the same seeded images, in batches of 1 and 3.

    Raises:
        ModelLoadError: ONNX Runtime refuses the file, or the two disagree.
    """
    torch = torch_extra.load("torch")
    runtime = require("onnxruntime")
    rng = np.random.default_rng(seed)
    expected: list[Logits] = []
    computed: list[Logits] = []
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for batch in BATCHES:
            pixels = patchy_images(rng, batch, image_size)
            computed += session.run([OUTPUT_NAME], {INPUT_NAME: pixels})
            with torch.no_grad():
                expected.append(module(torch.from_numpy(pixels)).numpy())
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise ModelLoadError(f"ONNX Runtime cannot run the exported model: {one_line(error)}") from error
    return judge(expected, computed)


def judge(expected: list[Logits], computed: list[Logits]) -> Agreement:
    """Compare logits, [N, classes] for each batch.

    The measure is the spread between images, not the logits' size: a network whose logits hardly depend on
    the image would otherwise agree with anything that has its biases.

    Raises:
        ModelLoadError: shapes differ, all images get the same logits, or the difference exceeds TOLERANCE.
    """
    shapes, right = ([rows.shape for rows in batches] for batches in (computed, expected))
    if shapes != right:
        raise ModelLoadError(f"the exported model's outputs have the shapes {shapes}, the network's {right}")
    truth, made = np.concatenate(expected).astype(np.float64), np.concatenate(computed).astype(np.float64)
    spread = float(np.ptp(truth, axis=0).max())
    if not spread > 1e-6 * float(np.abs(truth).max()):
        raise ModelLoadError("the network gives every image the same logits, so nothing can be compared")
    difference = float(np.abs(made - truth).max())
    if not difference <= TOLERANCE * spread:
        raise ModelLoadError(
            f"the exported model's logits differ from the network's by {difference:.2g}, "
            f"{difference / spread:.2g} of what a change of image does; {TOLERANCE:g} is allowed",
            "this is a defect of the exporter or of ONNX Runtime; another --opset may do",
        )
    return Agreement(difference, spread)
