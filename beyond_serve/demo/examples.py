"""Example images, of digits that the demo model was not trained on."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from beyond_serve.demo.dataset import Digits, jpeg
from beyond_serve.demo.render import draw, encode, random_scene

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MEDIUM_SIZE = (500, 375)
MEDIUM_BYTES = 121_000
"""Size and bytes of the "medium" image in Beyond Inference (arXiv 2403.12981), ImageNet's average."""
_MEDIUM_DIGITS = (3, 8)
_MEDIUM_NOISE = 24.0
_QUALITIES = range(60, 100)
_EXAMPLE_VIEW = 1_000
"""Scenes from this number on are drawn for examples only."""


def example_images(digits: Digits, held_out: np.ndarray, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yields (file name, JPEG): one image of each digit, then the medium ones.

    held_out: int64 [n], indices of the digits that are not trained on.
    """
    of_class = [held_out[digits.labels[held_out] == label] for label in range(len(NAMES))]
    for label, name in enumerate(NAMES):
        yield f"{name}.jpg", jpeg(digits, int(of_class[label][0]), _EXAMPLE_VIEW, seed)
    for label in _MEDIUM_DIGITS:
        yield f"medium-{NAMES[label]}.jpg", _medium(digits, int(of_class[label][1]), seed)


def write_examples(digits: Digits, held_out: np.ndarray, seed: int, folder: Path) -> list[Path]:
    """Writes the example images into `folder`, which is made if it is not there. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, data in example_images(digits, held_out, seed):
        path = folder / name
        path.write_bytes(data)
        paths.append(path)
    return paths


def _medium(digits: Digits, index: int, seed: int) -> bytes:
    """A noisy 500x375 JPEG of the quality whose size comes nearest to MEDIUM_BYTES."""
    rng = np.random.default_rng((seed, index, _EXAMPLE_VIEW))
    scene = replace(random_scene(rng, MEDIUM_SIZE), noise=_MEDIUM_NOISE)
    image = draw(digits.images[index], scene, rng)
    above = bisect_left(_QUALITIES, MEDIUM_BYTES, key=lambda quality: len(encode(image, quality)))
    nearest = (encode(image, quality) for quality in _QUALITIES[max(above - 1, 0) : above + 1])
    return min(nearest, key=lambda data: abs(len(data) - MEDIUM_BYTES))
