from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from beyond_serve.demo.layers import Convolution, Dense, Layer, MaxPool, Relu

STEP = 1e-5


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


LAYERS: dict[str, Callable[[], Layer]] = {
    "3x3": lambda: Convolution(2, 3, kernel=3, stride=1, rng=rng()),
    "5x5 stride 2": lambda: Convolution(2, 3, kernel=5, stride=2, rng=rng()),
    "relu": Relu,
    "max pool": MaxPool,
    "dense": lambda: Dense(6 * 6 * 2, 4, rng()),
}


def in_double_precision(layer: Layer) -> Layer:
    layer.weights = [w.astype(np.float64) for w in layer.weights]  # type: ignore[misc]
    return layer


def slope(loss: Callable[[], float], array: np.ndarray, index: tuple[int, ...]) -> float:
    """d loss / d array[index], by central difference."""
    value = array[index]
    array[index] = value + STEP
    above = loss()
    array[index] = value - STEP
    below = loss()
    array[index] = value
    return (above - below) / (2 * STEP)


@pytest.mark.parametrize("name", LAYERS)
def test_backward_is_the_slope_of_forward(name: str) -> None:
    layer = in_double_precision(LAYERS[name]())
    x = rng().standard_normal((2, 6, 6, 2))
    direction = rng().standard_normal(layer.forward(x).shape)

    def loss() -> float:
        return float((layer.forward(x) * direction).sum())

    loss()
    gradients = [layer.backward(direction), *layer.gradients]
    for array, gradient in zip([x, *layer.weights], gradients, strict=True):
        assert gradient.shape == array.shape
        for flat in range(0, array.size, 7):
            index = tuple(int(i) for i in np.unravel_index(flat, array.shape))
            assert gradient[index] == pytest.approx(slope(loss, array, index), abs=1e-6)


def test_convolution_with_an_identity_kernel_copies_its_input() -> None:
    layer = Convolution(1, 1, kernel=3, stride=1, rng=rng())
    layer.weights[0][:] = 0
    layer.weights[0][4] = 1
    x = rng().standard_normal((1, 4, 4, 1), dtype=np.float32)
    np.testing.assert_array_equal(layer.forward(x), x)


def test_stride_takes_every_other_pixel() -> None:
    layer = Convolution(1, 1, kernel=1, stride=2, rng=rng())
    layer.weights[0][:] = 1
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(layer.forward(x)[0, :, :, 0], [[0, 2], [8, 10]])


def test_max_pool_takes_the_largest_of_each_square() -> None:
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(MaxPool().forward(x)[0, :, :, 0], [[5, 7], [13, 15]])


def test_the_first_convolution_has_no_input_gradient() -> None:
    layer = Convolution(1, 1, kernel=3, stride=1, rng=rng(), first=True)
    y = layer.forward(np.ones((1, 4, 4, 1), np.float32))
    assert layer.backward(y).size == 0
    assert len(layer.gradients) == 2
