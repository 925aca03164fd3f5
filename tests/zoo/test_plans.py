from __future__ import annotations

import pytest

from beyond_serve.preprocess.plan import PreprocessPlan
from beyond_serve.preprocess.preset_huggingface import plan_of_processor
from beyond_serve.zoo import plans

_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
_SQUARE = {"height": 224, "width": 224}


@pytest.mark.parametrize(
    ("plan", "processor"),
    [
        (plans.VIT, {"image_processor_type": "ViTImageProcessor", "size": _SQUARE, "resample": 2, **_HALVES}),
        (plans.SWIN, {"image_processor_type": "ViTImageProcessor", "size": 224, "resample": 3, **_IMAGENET}),
        (
            plans.DEIT,
            {
                "image_processor_type": "DeiTImageProcessor", "size": 256, "do_center_crop": True,
                "crop_size": 224, "resample": 3, **_IMAGENET,
            },
        ),
        (
            plans.CONVNEXT,
            {
                "image_processor_type": "ConvNextFeatureExtractor", "size": {"shortest_edge": 224},
                "crop_pct": 0.875, "resample": 3, **_IMAGENET,
            },
        ),
        (
            plans.POOLFORMER,
            {
                "feature_extractor_type": "PoolFormerFeatureExtractor", "size": 224, "crop_pct": 0.9,
                "do_center_crop": True, "crop_size": 224, "resample": 3, **_IMAGENET,
            },
        ),
        (
            plans.MOBILENET,
            {
                "image_processor_type": "MobileNetV2ImageProcessor", "size": {"shortest_edge": 256},
                "do_center_crop": True, "crop_size": _SQUARE, "resample": 2, **_HALVES,
            },
        ),
        (
            plans.MOBILEVIT,
            {
                "feature_extractor_type": "MobileViTFeatureExtractor", "size": 288, "do_center_crop": True,
                "crop_size": 256, "resample": 2, "do_flip_channel_order": True,
            },
        ),
    ],
)  # fmt: skip
def test_plans_are_what_the_published_files_say(plan: PreprocessPlan, processor: dict[str, object]) -> None:
    assert plan_of_processor(processor, "preprocessor_config.json") == plan


def test_another_size_keeps_the_share_that_is_cut_off() -> None:
    plan = plans.at_size(plans.CONVNEXT, 448)
    assert (plan.size, plan.crop) == ((512, 512), (448, 448))
    assert plans.at_size(plans.VIT, 384).size == (384, 384)
    assert plans.at_size(plans.VIT, 384).crop is None


def test_the_published_size_changes_nothing() -> None:
    assert plans.at_size(plans.DEIT, 224) is plans.DEIT
