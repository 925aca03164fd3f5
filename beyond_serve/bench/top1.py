"""Does a model say the same of pixels that were made another way? Asked of the demo model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from beyond_serve.demo.dataset import jpeg, load_digits, split
from beyond_serve.demo.export import INPUT_NAME, OUTPUT_NAME
from beyond_serve.demo.location import demo_model
from beyond_serve.demo.network import IMAGE_SIDE
from beyond_serve.preprocess.plan import Normalization, PreprocessPlan
from beyond_serve.preprocess.presets import load_plan

Pixels = NDArray[np.uint8]
Maker = Callable[[bytes, PreprocessPlan], Pixels]
Way = tuple[str, str]

SEED = 0
"""Of the demo model's training: with another one, images that it was trained on would be held out."""


def agreement(
    reference: Maker, makers: Mapping[Way, Maker], views: int, progress: Progress
) -> tuple[dict[Way, float], int]:
    """Share of the held-out images on which the model's top class is the one it gives the reference's pixels,
    for each maker; and how many images there were.

    Raises:
        ConfigError: scikit-learn is not installed.
        ModelLoadError: the demo model is not there.
    """
    path = demo_model()
    plan, _ = load_plan(path, (IMAGE_SIDE, IMAGE_SIDE))
    digits = load_digits()
    _, held_out = split(digits.labels, SEED)
    jobs = [(int(index), view) for index in held_out for view in range(views)]
    task = progress.add_task("top-1", total=len(jobs))
    wanted: list[Pixels] = []
    made: dict[Way, list[Pixels]] = {key: [] for key in makers}
    for index, view in jobs:
        data = jpeg(digits, index, view, SEED)
        wanted.append(reference(data, plan))
        for key, maker in makers.items():
            made[key].append(maker(data, plan))
        progress.advance(task)
    expected = _top(str(path), wanted, plan.normalization)
    shares = {
        key: float((_top(str(path), pixels, plan.normalization) == expected).mean())
        for key, pixels in made.items()
    }
    return shares, len(jobs)


def _top(path: str, pixels: Sequence[Pixels], normalization: Normalization) -> NDArray[np.int64]:
    """int64 [n], the model's first class of each image."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    mean = np.asarray(normalization.mean, np.float32)
    std = np.asarray(normalization.std, np.float32)
    rows = (np.stack(pixels).astype(np.float32) * np.float32(normalization.scale) - mean) / std
    (logits,) = session.run([OUTPUT_NAME], {INPUT_NAME: np.ascontiguousarray(rows.transpose(0, 3, 1, 2))})
    top: NDArray[np.int64] = logits.argmax(axis=1)
    return top
