from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.labels import load_labels
from beyond_serve.preprocess.plan import (
    CropRounding,
    Interpolation,
    Normalization,
    PreprocessPlan,
    Resize,
)
from beyond_serve.preprocess.presets import load_plan

HALF = (0.5, 0.5, 0.5)
VIT = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": list(HALF),
    "image_processor_type": "ViTImageProcessor",
    "image_std": list(HALF),
    "resample": 2,
    "rescale_factor": 1 / 255,
    "size": {"height": 224, "width": 224},
}
CLIP = {
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": list(HALF),
    "image_std": list(HALF),
    "resample": 3,
    "size": 224,
}
TIMM = {
    "architecture": "resnet50",
    "pretrained_cfg": {
        "input_size": [3, 224, 224],
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "crop_mode": "center",
        "mean": list(HALF),
        "std": list(HALF),
    },
}


def beside(folder: Path, name: str, content: dict[str, Any] | str) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / "model.onnx"


def without(content: dict[str, Any], *keys: str, **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**content, **changes}.items() if key not in keys}


def processor(folder: Path, content: dict[str, Any]) -> PreprocessPlan:
    return load_plan(beside(folder, "preprocessor_config.json", content), None)[0]


def test_without_files_the_imagenet_preset_scales_with_the_model(tmp_path: Path) -> None:
    for size, edge in (((224, 224), 256), ((299, 299), 341), ((32, 32), 36)):
        plan, source = load_plan(tmp_path / "model.onnx", size)
        assert (plan.size, plan.crop, plan.resize) == ((edge, edge), size, Resize.SHORTEST_EDGE)
        assert "ImageNet preset" in source
    assert load_plan(None, None)[0] == PreprocessPlan()
    assert load_plan(None, (112, 224))[0].resize is Resize.COVER


def test_vit(tmp_path: Path) -> None:
    plan = processor(tmp_path, VIT)
    assert plan == PreprocessPlan(
        Resize.EXACT,
        (224, 224),
        None,
        Interpolation.BILINEAR,
        CropRounding.FLOOR,
        Normalization(1 / 255, HALF, HALF),
    )


def test_one_number_is_a_square_for_vit_and_the_short_edge_for_clip(tmp_path: Path) -> None:
    old = without(VIT, "image_processor_type", feature_extractor_type="ViTFeatureExtractor", size=224)
    assert processor(tmp_path, old).resize is Resize.EXACT
    clip = processor(tmp_path, CLIP)
    assert (clip.resize, clip.size, clip.crop) == (Resize.SHORTEST_EDGE, (224, 224), (224, 224))
    assert clip.interpolation is Interpolation.BICUBIC


@pytest.mark.parametrize(
    ("size", "resize", "edge", "crop"),
    [(224, Resize.SHORTEST_EDGE, 256, (224, 224)), (384, Resize.EXACT, 384, None)],
)
def test_convnext(tmp_path: Path, size: int, resize: Resize, edge: int, crop: Any) -> None:
    content = without(
        VIT, image_processor_type="ConvNextImageProcessor", size={"shortest_edge": size}, crop_pct=0.875
    )
    plan = processor(tmp_path, content)
    assert (plan.resize, plan.size, plan.crop) == (resize, (edge, edge), crop)


def test_normalisation_of_a_processor(tmp_path: Path) -> None:
    assert processor(tmp_path, without(VIT, do_rescale=False)).normalization.scale == 1
    plain = processor(tmp_path, without(VIT, "image_mean", "image_std", "do_normalize"))
    assert plain.normalization == Normalization(1 / 255, (0, 0, 0), (1, 1, 1))
    offset = processor(tmp_path, without(VIT, rescale_offset=True, rescale_factor=1 / 127.5))
    assert offset.normalization.mean == (1.5, 1.5, 1.5)
    assert processor(tmp_path, without(VIT, do_flip_channel_order=True)).normalization.channel_order == "BGR"


@pytest.mark.parametrize(
    "content",
    [
        without(VIT, do_pad=True),
        without(VIT, size={"shortest_edge": 800, "longest_edge": 1333}),
        without(VIT, "image_mean"),
        without(VIT, resample=9),
        without(VIT, do_resize=False),
        without(CLIP, "crop_size"),
        without(VIT, image_mean=[0.5, 0.5]),
        without(VIT, size="large"),
    ],
)
def test_a_processor_that_is_not_understood_is_refused_and_not_guessed(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"preprocessor_config\.json|preprocessing"):
        processor(tmp_path, content)


def test_timm(tmp_path: Path) -> None:
    model = beside(tmp_path, "config.json", TIMM)
    plan, source = load_plan(model, (224, 224))
    assert plan == PreprocessPlan(
        Resize.SHORTEST_EDGE,
        (235, 235),  # floor(224 / 0.95)
        (224, 224),
        Interpolation.BICUBIC,
        normalization=Normalization(1 / 255, HALF, HALF),
    )
    assert source.endswith("config.json")
    assert load_plan(model, (288, 288))[0].size == (303, 303)


def test_timm_s_other_crops(tmp_path: Path) -> None:
    settings = TIMM["pretrained_cfg"]
    assert isinstance(settings, dict)
    squash = beside(tmp_path, "config.json", {"pretrained_cfg": {**settings, "crop_mode": "squash"}})
    assert load_plan(squash, None)[0].resize is Resize.EXACT
    wide = beside(tmp_path, "config.json", {**settings, "input_size": [3, 112, 224]})
    plan, _ = load_plan(wide, None)
    assert (plan.resize, plan.interpolation) == (Resize.COVER, Interpolation.BILINEAR)
    for change in ({"crop_mode": "border"}, {"interpolation": "random"}, {"crop_pct": 2}, {"input_size": 3}):
        with pytest.raises(ConfigError, match=r"config\.json"):
            load_plan(beside(tmp_path, "config.json", {"pretrained_cfg": {**settings, **change}}), None)


def test_a_transformers_config_says_nothing_of_preprocessing(tmp_path: Path) -> None:
    model = beside(tmp_path, "config.json", {"model_type": "resnet", "id2label": {"0": "cat"}})
    assert "ImageNet" in load_plan(model, None)[1]


def test_sidecar(tmp_path: Path) -> None:
    beside(tmp_path, "preprocessor_config.json", VIT)
    model = beside(
        tmp_path,
        "model.toml",
        """
        labels = ["zero", "one"]
        [preprocess]
        resize = "exact"
        size = [32, 48]
        interpolation = "lanczos"
        scale = 1
        mean = [1, 2, 3.5]
        std = [1, 1, 2]
        channel_order = "BGR"
        """,
    )
    plan, source = load_plan(model, (32, 48))
    assert plan == PreprocessPlan(
        Resize.EXACT,
        (32, 48),
        None,
        Interpolation.LANCZOS,
        normalization=Normalization(1.0, (1.0, 2.0, 3.5), (1.0, 1.0, 2.0), "BGR"),
    )
    assert source == str(tmp_path / "model.toml")
    assert load_labels(model) == ("zero", "one")


def test_a_sidecar_s_defaults_are_imagenet_s(tmp_path: Path) -> None:
    assert load_plan(beside(tmp_path, "model.toml", "[preprocess]"), None)[0] == PreprocessPlan()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[preprocess]\nrezise = 'exact'", "unknown key 'rezise'"),
        ("preprocessing = 1", "unknown key 'preprocessing'"),
        ("[preprocess]\nresize = 'big'", "resize = 'big' is not known"),
        ("[preprocess]\nsize = [1, 2, 3]", "size"),
        ("[preprocess]\ncrop = 'all'", "crop"),
        ("[preprocess]\nmean = [1, 2]", "mean"),
        ("[preprocess]\nscale = true", "scale"),
        ("[preprocess]\nchannel_order = 'GBR'", "channel_order"),
        ("preprocess = 3", "must be a table"),
        ("[preprocess", "cannot be read"),
    ],
)
def test_mistakes_in_a_sidecar_are_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.toml") as raised:
        load_plan(beside(tmp_path, "model.toml", text), None)
    assert says in raised.value.message


def test_a_plan_of_another_size_than_the_model_s_is_refused(tmp_path: Path) -> None:
    model = beside(tmp_path, "preprocessor_config.json", VIT)
    with pytest.raises(ConfigError, match="makes images of 224x224, the model takes 384x384"):
        load_plan(model, (384, 384))


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_json_that_is_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"preprocessor_config\.json"):
        load_plan(beside(tmp_path, "preprocessor_config.json", text), None)
