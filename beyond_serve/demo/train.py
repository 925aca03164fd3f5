"""Trains the demo network: Adam, cosine learning rate, cross-entropy. Depends on seed and images alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beyond_serve.demo.layers import Array
from beyond_serve.demo.network import DigitNetwork

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    epochs: int = 12
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.05
    largest_shift: int = 2
    """Pixels (at 32x32) by which each training image is moved at random, at most."""


@dataclass(frozen=True, slots=True)
class Epoch:
    number: int
    loss: float


class Adam:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019); changes the weights in place."""

    def __init__(self, weights: list[Array], decay: float) -> None:
        self._weights = weights
        self._decay = decay
        self._means = [np.zeros_like(w) for w in weights]
        self._squares = [np.zeros_like(w) for w in weights]
        self._step = 0

    def update(self, gradients: list[Array], learning_rate: float) -> None:
        self._step += 1
        correction = math.sqrt(1 - _BETA_2**self._step) / (1 - _BETA_1**self._step)
        rate = np.float32(learning_rate * correction)
        shrink = np.float32(1 - learning_rate * self._decay)
        moments = zip(self._weights, gradients, self._means, self._squares, strict=True)
        for weight, gradient, mean, square in moments:
            mean[...] += np.float32(1 - _BETA_1) * (gradient - mean)
            square[...] += np.float32(1 - _BETA_2) * (gradient * gradient - square)
            weight[...] *= shrink
            weight[...] -= rate * mean / (np.sqrt(square) + np.float32(_EPSILON))


def train(
    images: Array,
    labels: NDArray[np.int64],
    seed: int,
    config: TrainingConfig,
    on_epoch: Callable[[Epoch], None],
) -> DigitNetwork:
    """Trains a network from scratch.

    images: float32 [N, 32, 32, 3], normalised. labels: int64 [N], 0 to 9.
    `on_epoch` is called after each pass over the images.
    """
    network = DigitNetwork(seed)
    rng = np.random.default_rng((seed, 1))
    optimiser = Adam(network.weights(), config.weight_decay)
    batches = math.ceil(len(images) / config.batch)
    for epoch in range(config.epochs):
        order = rng.permutation(len(images))
        losses = []
        for index in range(batches):
            chosen = order[index * config.batch : (index + 1) * config.batch]
            batch = shifted(images[chosen], config.largest_shift, rng)
            loss, gradient = cross_entropy(network.forward(batch), labels[chosen], config.label_smoothing)
            network.backward(gradient)
            progress = (epoch * batches + index) / (config.epochs * batches)
            optimiser.update(network.gradients(), cosine(config.learning_rate, progress))
            losses.append(loss)
        on_epoch(Epoch(epoch + 1, float(np.mean(losses))))
    return network


def predict(network: DigitNetwork, images: Array, batch: int = 256) -> Array:
    """Logits, float32 [N, 10], of normalised images, float32 [N, 32, 32, 3]."""
    return np.concatenate([network.forward(images[i : i + batch]) for i in range(0, len(images), batch)])


def cross_entropy(logits: Array, labels: NDArray[np.int64], smoothing: float) -> tuple[float, Array]:
    """Mean loss over a batch and its gradient, float32 [N, classes], for labels smoothed by `smoothing`."""
    count, classes = logits.shape
    shifted_logits = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted_logits - np.log(np.exp(shifted_logits).sum(axis=1, keepdims=True))
    target = np.full(logits.shape, smoothing / classes, np.float32)
    target[np.arange(count), labels] += np.float32(1 - smoothing)
    loss = -float((target * log_probabilities).sum()) / count
    gradient: Array = (np.exp(log_probabilities) - target) / np.float32(count)
    return loss, gradient


def cosine(peak: float, progress: float) -> float:
    """Learning rate that falls from `peak` to 0 as progress goes from 0 to 1."""
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def shifted(images: Array, largest: int, rng: np.random.Generator) -> Array:
    """Moves each image by its own whole number of pixels, repeating the edge's pixels."""
    if largest == 0:
        return images
    _, height, width, _ = images.shape
    edges = ((0, 0), (largest, largest), (largest, largest), (0, 0))
    padded = np.pad(images, edges, mode="edge")
    offsets = rng.integers(0, 2 * largest + 1, (len(images), 2))
    return np.stack(
        [p[y : y + height, x : x + width] for p, (y, x) in zip(padded, offsets, strict=True)],
    )
