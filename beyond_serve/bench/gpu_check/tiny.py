"""A network that is small enough to be compared in every way, as a .pt2 file made on the spot."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.image_input import ImageInput
from beyond_serve.preprocess.plan import Normalization

SIZE = (24, 20)
"""(H, W), unequal so that an exchange shows."""

CLASSES = 37
NORMALIZATION = Normalization()


def tiny_module() -> Any:
    """A torch module in evaluation mode, float32 [n, 3, 24, 20] to [n, 37], with seeded weights."""
    from beyond_serve.zoo.random_weights import seeded

    torch = importlib.import_module("torch")
    nn = torch.nn
    with seeded(3):
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(128, CLASSES),
        ).eval()


def export_tiny(module: Any, path: Path, max_batch: int) -> None:
    """The exported program itself: float32 in, so that our kernel normalises in front of it."""
    torch = importlib.import_module("torch")
    batch = torch.export.Dim("batch", min=1, max=max_batch)
    example = torch.zeros(2, 3, *SIZE)
    program = torch.export.export(module, (example,), dynamic_shapes=({0: batch},))
    torch.export.save(program, str(path))


def network_input(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 [n, 3, H, W] of uint8 [n, H, W, 3], normalised."""
    return normalise(pixels, NORMALIZATION)


def normalise(pixels: NDArray[np.uint8], normalization: Normalization) -> NDArray[np.float32]:
    from beyond_serve.bench.gpu_check.reference import normalised

    mean, std = (np.array(values, np.float64) for values in (normalization.mean, normalization.std))
    gain = (normalization.scale / std).astype(np.float32)
    offset = (mean / std).astype(np.float32)
    size = (pixels.shape[1], pixels.shape[2])
    image = ImageInput("input", "FP32", "NCHW", size, 3, False, gain, offset)
    result: NDArray[np.float32] = normalised(pixels, image).astype(np.float32, copy=False)
    return result


class TorchReference:
    """Scores of images by a module in float32 on the CPU, with normalisation before it."""

    def __init__(self, module: Any, normalization: Normalization = NORMALIZATION) -> None:
        self._torch = importlib.import_module("torch")
        self._module = module
        self._normalization = normalization

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.generic]:
        torch = self._torch
        with torch.inference_mode():
            scores: NDArray[np.generic] = self._module(
                torch.from_numpy(normalise(pixels, self._normalization))
            ).numpy()
        return scores
