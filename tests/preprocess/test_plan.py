from __future__ import annotations

import pytest

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.plan import Interpolation, Normalization, PreprocessPlan, Resize

PLAN = PreprocessPlan()


def test_the_default_is_torchvision_s_imagenet_evaluation() -> None:
    assert PLAN.output_shape == (224, 224, 3)
    assert PLAN.describe() == "short edge to 256 (bilinear), centre crop 224x224"
    assert PLAN.resized_size(500, 375) == (341, 256)  # int(256 * 500 / 375)


def test_cover_keeps_the_aspect_ratio_and_covers() -> None:
    plan = PreprocessPlan(Resize.COVER, (100, 200), (100, 200))
    assert plan.resized_size(400, 400) == (200, 200)
    assert plan.resized_size(1000, 100) == (1000, 100)


@pytest.mark.parametrize(
    "make",
    [
        lambda: PreprocessPlan(crop=None),
        lambda: PreprocessPlan(size=(0, 256)),
        lambda: PreprocessPlan(crop=(224, -1)),
        lambda: Normalization(mean=(0.5,)),
        lambda: Normalization(std=(1.0, 0.0, 1.0)),
    ],
)
def test_impossible_plans(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError):
        make()


def test_interpolations_are_pillow_s() -> None:
    assert set(Interpolation) == {"nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"}
