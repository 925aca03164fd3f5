"""The demo network: three convolutions and one dense layer, 32x32 RGB to 10 logits, about 27,000 weights."""

from __future__ import annotations

import numpy as np

from beyond_serve.demo.layers import Array, Convolution, Dense, Layer, MaxPool, Relu

IMAGE_SIDE = 32
CLASSES = 10
_CHANNELS = (16, 32, 48)
GRID_SIDE = 4
"""Height and width of what the dense layer sees."""


class DigitNetwork:
    """Attributes: `layers` from input to output."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        first, second, third = _CHANNELS
        self.layers: list[Layer] = [
            Convolution(3, first, kernel=5, stride=2, rng=rng, first=True),
            Relu(),
            Convolution(first, second, kernel=3, stride=1, rng=rng),
            Relu(),
            MaxPool(),
            Convolution(second, third, kernel=3, stride=1, rng=rng),
            Relu(),
            MaxPool(),
            Dense(GRID_SIDE * GRID_SIDE * third, CLASSES, rng),
        ]

    def forward(self, images: Array) -> Array:
        """images: float32 [N, 32, 32, 3], normalised. Returns logits, float32 [N, 10]."""
        x = images
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, logits_gradient: Array) -> None:
        """Fills every layer's `gradients` for the last `forward`. logits_gradient: float32 [N, 10]."""
        dy = logits_gradient
        for layer in reversed(self.layers):
            dy = layer.backward(dy)

    def weights(self) -> list[Array]:
        return [weight for layer in self.layers for weight in layer.weights]

    def gradients(self) -> list[Array]:
        return [gradient for layer in self.layers for gradient in layer.gradients]
