"""Digits to test with that need no scikit-learn: a bar for each class, at its own place."""

from __future__ import annotations

import numpy as np

from beyond_serve.demo.dataset import Digits


def bars(each: int) -> Digits:
    """`each` digits of every class, in random strength."""
    rng = np.random.default_rng(7)
    labels = np.repeat(np.arange(10), each)
    images = np.zeros((len(labels), 8, 8), np.float32)
    for image, label in zip(images, labels, strict=True):
        place = 1 + label % 5
        rows, columns = (slice(None), slice(place, place + 2))
        image[(rows, columns) if label < 5 else (columns, rows)] = rng.uniform(0.8, 1.0)
    return Digits(images, labels)
