"""Seeded random weights that leave activations at a trained network's scale."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from beyond_serve.zoo import torch_extra
from beyond_serve.zoo.patches import patchy_images

_IMAGES = 4
"""That the batch norms are settled on; enough for means over all their pixels."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within it torch draws the numbers that follow from `seed`; afterwards its generator is as before."""
    torch = torch_extra.load("torch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def settle(module: Any, image_size: int, seed: int) -> None:
    """Set the running statistics of batch norms from seeded images.

    Untrained ones hold mean 0 and variance 1, which normalise nothing: in deep networks activations then
    fade until all images get the same answer, and arithmetic on denormal numbers is many times slower than
    what a trained network costs.
    """
    torch = torch_extra.load("torch")
    norms = [layer for layer in module.modules() if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # the mean over all batches seen, which is one
        layer.train()
    with torch.no_grad():
        module(torch.from_numpy(patchy_images(np.random.default_rng(seed), _IMAGES, image_size)))
    for layer in norms:
        layer.eval()
