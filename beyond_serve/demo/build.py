"""Makes the demo model from nothing: draw, train, measure on the held-out digits, export, verify."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from beyond_serve.demo.dataset import Digits, preprocessed_views, split
from beyond_serve.demo.export import to_onnx, verify
from beyond_serve.demo.layers import Array
from beyond_serve.demo.location import DEMO_MODEL
from beyond_serve.demo.network import CLASSES, IMAGE_SIDE
from beyond_serve.demo.train import Epoch, TrainingConfig, predict, train
from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.plan import Normalization
from beyond_serve.preprocess.presets import load_plan


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """views: scenes drawn of each digit, for training and for measuring."""

    seed: int = 0
    training_views: int = 6
    held_out_views: int = 3
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(epochs=16))


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What was measured.

    Attributes:
        correct: int64 [10, 2]: for each digit, held-out images classified right, and all of them.
        training_accuracy: on the images trained on.
        largest_difference: of a logit, between ONNX Runtime on the file and the network.
        model_bytes: size of the file.
    """

    correct: NDArray[np.int64]
    training_images: int
    training_accuracy: float
    largest_difference: float
    model_bytes: int

    @property
    def accuracy(self) -> float:
        """On the held-out images, 0 to 1."""
        right, all_images = self.correct.sum(axis=0)
        return float(right / all_images)


@dataclass(frozen=True, slots=True)
class Progress:
    """Called on the way: for each image drawn, when training begins, for each epoch trained."""

    on_image: Callable[[], None] = lambda: None
    on_training: Callable[[], None] = lambda: None
    on_epoch: Callable[[Epoch], None] = lambda _: None


def build(digits: Digits, output: Path, config: DemoConfig, progress: Progress) -> DemoReport:
    """Writes `output` and, beside it, its `.toml`. Raises ConfigError, ModelLoadError, OSError."""
    copy_sidecar(output)
    plan, _ = load_plan(output, (IMAGE_SIDE, IMAGE_SIDE))
    training, held_out = split(digits.labels, config.seed)
    pixels, labels = preprocessed_views(
        digits, training.tolist(), config.training_views, config.seed, plan, progress.on_image
    )
    held_pixels, held_labels = preprocessed_views(
        digits, held_out.tolist(), config.held_out_views, config.seed, plan, progress.on_image
    )
    images, held_images = (normalised(p, plan.normalization) for p in (pixels, held_pixels))
    progress.on_training()
    with one_blas_thread():
        network = train(images, labels, config.seed, config.training, progress.on_epoch)
        held_right = predict(network, held_images).argmax(axis=1) == held_labels
        training_right = predict(network, images).argmax(axis=1) == labels
    model = to_onnx(network, _metadata(len(images), len(held_images), float(held_right.mean())))
    output.write_bytes(model.SerializeToString(deterministic=True))
    return DemoReport(
        correct=per_class(held_right, held_labels),
        training_images=len(images),
        training_accuracy=float(training_right.mean()),
        largest_difference=verify(output, network, held_images),
        model_bytes=output.stat().st_size,
    )


def image_count(digits: Digits, config: DemoConfig) -> int:
    """How many images `build` draws."""
    training, held_out = split(digits.labels, config.seed)
    return len(training) * config.training_views + len(held_out) * config.held_out_views


def copy_sidecar(output: Path) -> None:
    """Puts the demo's preprocessing and labels beside `output`. Raises ConfigError if it cannot."""
    source, target = DEMO_MODEL.with_suffix(".toml"), output.with_suffix(".toml")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if target.resolve() != source.resolve():
            shutil.copyfile(source, target)
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}", "choose another --output") from error


def normalised(pixels: NDArray[np.uint8], normalization: Normalization) -> Array:
    """What the engine's graph computes from uint8 [N, H, W, 3]: float32 of the same shape."""
    mean = np.asarray(normalization.mean, np.float32)
    std = np.asarray(normalization.std, np.float32)
    images: Array = (pixels.astype(np.float32) * np.float32(normalization.scale) - mean) / std
    return images


def per_class(right: NDArray[np.bool_], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [10, 2]: for each class, how many are right and how many there are."""
    return np.array([[int(right[labels == c].sum()), int((labels == c).sum())] for c in range(CLASSES)])


def one_blas_thread() -> AbstractContextManager[object]:
    """Within it sums have one order, so that the file does not depend on the number of cores."""
    try:
        from threadpoolctl import threadpool_limits  # comes with scikit-learn
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits


def _metadata(training_images: int, held_out_images: int, accuracy: float) -> dict[str, str]:
    return {
        "description": "Handwritten digits drawn as colour images; made by `beyond-models demo`",
        "training_images": str(training_images),
        "held_out_images": str(held_out_images),
        "held_out_accuracy": f"{accuracy:.4f}",
    }
