from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.demo.train import (
    Adam,
    Epoch,
    TrainingConfig,
    cosine,
    cross_entropy,
    predict,
    shifted,
    train,
)

QUICK = TrainingConfig(epochs=3, batch=8, largest_shift=1)


def quadrants(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of four classes: which quarter is bright."""
    labels = np.arange(count) % 4
    images = np.random.default_rng(0).normal(0, 0.1, (count, 32, 32, 3)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[16 * (label // 2) : 16 * (label // 2) + 16, 16 * (label % 2) : 16 * (label % 2) + 16] += 1
    return images, labels


def test_training_learns_and_depends_on_the_seed_alone() -> None:
    images, labels = quadrants(24)
    epochs: list[Epoch] = []
    network = train(images, labels, 5, QUICK, epochs.append)
    again = train(images, labels, 5, QUICK, lambda _: None)
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    assert epochs[-1].loss < epochs[0].loss
    assert (predict(network, images, batch=10).argmax(axis=1) == labels).mean() > 0.5
    for one, other in zip(network.weights(), again.weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_cross_entropy_of_even_logits() -> None:
    loss, gradient = cross_entropy(np.zeros((2, 4), np.float32), np.array([1, 3]), smoothing=0.0)
    assert loss == pytest.approx(np.log(4))
    np.testing.assert_allclose(gradient, [[0.125, -0.375, 0.125, 0.125], [0.125, 0.125, 0.125, -0.375]])


def test_cross_entropy_stays_finite_for_large_logits() -> None:
    logits = np.array([[1e4, -1e4]], np.float32)
    loss, gradient = cross_entropy(logits, np.array([1]), smoothing=0.1)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def test_smoothing_moves_the_best_logits_off_infinity() -> None:
    _, gradient = cross_entropy(np.array([[20.0, -20.0]], np.float32), np.array([0]), smoothing=0.2)
    assert gradient[0, 0] > 0


def test_cosine_falls_from_the_peak_to_zero() -> None:
    assert cosine(0.4, 0.0) == pytest.approx(0.4)
    assert cosine(0.4, 0.5) == pytest.approx(0.2)
    assert cosine(0.4, 1.0) == pytest.approx(0.0)


def test_shifted_moves_whole_images_and_repeats_the_edge() -> None:
    columns = np.tile(np.arange(4, dtype=np.float32)[None, None, :, None], (50, 4, 1, 1))
    moved = shifted(columns, 1, np.random.default_rng(0))
    seen = {tuple(image[0, :, 0].tolist()) for image in moved}
    assert seen == {(0, 0, 1, 2), (0, 1, 2, 3), (1, 2, 3, 3)}


def test_no_shift_leaves_images_alone() -> None:
    images = np.ones((2, 4, 4, 1), np.float32)
    assert shifted(images, 0, np.random.default_rng(0)) is images


def test_adam_steps_by_the_learning_rate_at_first_and_shrinks_weights() -> None:
    weight = np.array([1.0, -1.0], np.float32)
    Adam([weight], decay=0.1).update([np.array([5.0, -0.1], np.float32)], learning_rate=0.01)
    np.testing.assert_allclose(weight, [0.999 - 0.01, -0.999 + 0.01], rtol=1e-5)
