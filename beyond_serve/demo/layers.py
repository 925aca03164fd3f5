"""Layers of a convolutional network in NumPy, forward and backward.

Images are float32 [N, H, W, C]: with the channels last, a convolution is one matrix product over its patches.
`forward` keeps what `backward` needs, so a layer serves one forward pass at a time, of one thread.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]


class Layer(Protocol):
    """Attributes: `weights` are trained in place; `gradients` match them after `backward`."""

    weights: list[Array]
    gradients: list[Array]

    def forward(self, x: Array) -> Array: ...

    def backward(self, dy: Array) -> Array: ...


class Convolution:
    """Square convolution with zero padding of `kernel // 2`.

    Weights: [kernel * kernel * inputs, outputs] and [outputs].
    With `first` the gradient of its input, which nobody would use, is not computed.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        rng: np.random.Generator,
        *,
        first: bool = False,
    ) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.kernel, self.stride, self.first = kernel, stride, first
        self.weights = [he_normal(kernel * kernel * inputs, outputs, rng), np.zeros(outputs, np.float32)]
        self.gradients: list[Array] = []
        self._patches: Array = np.empty(0, np.float32)
        self._input_shape: tuple[int, ...] = ()

    def forward(self, x: Array) -> Array:
        pad = self.kernel // 2
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        windows = sliding_window_view(padded, (self.kernel, self.kernel), axis=(1, 2))
        windows = windows[:, :: self.stride, :: self.stride].transpose(0, 1, 2, 4, 5, 3)
        n, height, width = windows.shape[:3]
        self._patches = windows.reshape(n * height * width, -1)
        self._input_shape = x.shape
        y: Array = (self._patches @ self.weights[0] + self.weights[1]).reshape(n, height, width, self.outputs)
        return y

    def backward(self, dy: Array) -> Array:
        n, height, width, _ = dy.shape
        flat = dy.reshape(-1, self.outputs)
        self.gradients = [self._patches.T @ flat, flat.sum(axis=0)]
        if self.first:
            return np.empty(0, np.float32)
        patches = (flat @ self.weights[0].T).reshape(n, height, width, self.kernel, self.kernel, self.inputs)
        pad, step = self.kernel // 2, self.stride
        _, input_height, input_width, _ = self._input_shape
        dx = np.zeros((n, input_height + 2 * pad, input_width + 2 * pad, self.inputs), np.float32)
        for row in range(self.kernel):
            for column in range(self.kernel):
                rows = slice(row, row + step * height, step)
                columns = slice(column, column + step * width, step)
                dx[:, rows, columns] += patches[:, :, :, row, column]
        return dx[:, pad : pad + input_height, pad : pad + input_width]


class Relu:
    def __init__(self) -> None:
        self.weights: list[Array] = []
        self.gradients: list[Array] = []
        self._output: Array = np.empty(0, np.float32)

    def forward(self, x: Array) -> Array:
        self._output = np.maximum(x, 0)
        return self._output

    def backward(self, dy: Array) -> Array:
        dx: Array = dy * (self._output > 0)
        return dx


class MaxPool:
    """Maximum of each 2x2 square; height and width must be even. A tie's gradient goes to each."""

    def __init__(self) -> None:
        self.weights: list[Array] = []
        self.gradients: list[Array] = []
        self._is_maximum: NDArray[np.bool_] = np.empty(0, np.bool_)

    def forward(self, x: Array) -> Array:
        n, height, width, channels = x.shape
        squares = x.reshape(n, height // 2, 2, width // 2, 2, channels)
        y: Array = squares.max(axis=(2, 4))
        self._is_maximum = squares == y[:, :, None, :, None]
        return y

    def backward(self, dy: Array) -> Array:
        n, height, width, channels = dy.shape
        dx: Array = (self._is_maximum * dy[:, :, None, :, None]).reshape(n, height * 2, width * 2, channels)
        return dx


class Dense:
    """Flattens [N, H, W, C] (channels fastest) and multiplies. Weights: [H * W * C, outputs], [outputs]."""

    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator) -> None:
        self.weights = [he_normal(inputs, outputs, rng), np.zeros(outputs, np.float32)]
        self.gradients: list[Array] = []
        self._input: Array = np.empty(0, np.float32)

    def forward(self, x: Array) -> Array:
        self._input = x
        y: Array = x.reshape(len(x), -1) @ self.weights[0] + self.weights[1]
        return y

    def backward(self, dy: Array) -> Array:
        self.gradients = [self._input.reshape(len(dy), -1).T @ dy, dy.sum(axis=0)]
        dx: Array = (dy @ self.weights[0].T).reshape(self._input.shape)
        return dx


def he_normal(inputs: int, outputs: int, rng: np.random.Generator) -> Array:
    """Weights [inputs, outputs] whose scale keeps a ReLU network's activations even (He et al. 2015)."""
    weights: Array = rng.standard_normal((inputs, outputs), dtype=np.float32) * np.float32(
        (2.0 / inputs) ** 0.5
    )
    return weights
