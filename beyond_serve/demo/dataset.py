"""The demo's images: scikit-learn's bundled digits, split, as JPEGs, preprocessed as the server does."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beyond_serve.demo.render import render
from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.plan import PreprocessPlan

HELD_OUT = 0.2
_FULL_STROKE = 16.0


@dataclass(frozen=True, slots=True)
class Digits:
    """images: float32 [n, 8, 8], 0 (paper) to 1 (full stroke). labels: int64 [n], 0 to 9."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


def load_digits() -> Digits:
    """Raises ConfigError if scikit-learn is not installed."""
    try:
        from sklearn import datasets  # the `demo` extra; serving needs none of it
    except ImportError:
        raise ConfigError(
            "training the demo model needs scikit-learn, which is not installed",
            "pip install 'beyond-serve[demo]'",
        ) from None
    bundle = datasets.load_digits()
    images = (bundle.images / _FULL_STROKE).astype(np.float32)
    return Digits(images, bundle.target.astype(np.int64))


def split(labels: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Splits the indices into (training, held out), both sorted, with HELD_OUT of each class held out."""
    rng = np.random.default_rng((seed, 2))
    held_out: list[int] = []
    for label in np.unique(labels):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        held_out.extend(of_class[: round(HELD_OUT * len(of_class))].tolist())
    held = np.array(sorted(held_out), np.int64)
    return np.setdiff1d(np.arange(len(labels)), held), held


def jpeg(digits: Digits, index: int, view: int, seed: int) -> bytes:
    """The digit's JPEG in its scene number `view`; the same bytes at every call."""
    return render(digits.images[index], np.random.default_rng((seed, index, view)))


def preprocess(data: bytes, plan: PreprocessPlan) -> NDArray[np.uint8]:
    """Decodes and resizes one JPEG as the server does: uint8 [H, W, 3] RGB of the plan's output shape."""
    pixels = np.empty(plan.output_shape, np.uint8)
    HostPreprocessor(plan, "exact").run(data, read_header(data), pixels)
    return pixels


def preprocessed_views(
    digits: Digits,
    indices: Sequence[int],
    views: int,
    seed: int,
    plan: PreprocessPlan,
    on_image: Callable[[], None],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Each digit of `indices` in `views` scenes: uint8 [n * views, H, W, 3] and labels [n * views].

    `on_image` is called as each image is done.
    """

    def make(job: tuple[int, int]) -> NDArray[np.uint8]:
        index, view = job
        return preprocess(jpeg(digits, index, view, seed), plan)

    jobs = [(int(index), view) for index in indices for view in range(views)]
    pixels = np.empty((len(jobs), *plan.output_shape), np.uint8)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row, image in enumerate(pool.map(make, jobs)):
            pixels[row] = image
            on_image()
    return pixels, np.repeat(digits.labels[np.asarray(indices)], views)
