"""transformers' preprocessor_config.json."""

from __future__ import annotations

from typing import Any

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.plan import (
    CropRounding,
    Interpolation,
    Normalization,
    PreprocessPlan,
    Resize,
)

# PIL.Image.Resampling's numbers, as the files carry them.
_RESAMPLE = {
    0: Interpolation.NEAREST,
    1: Interpolation.LANCZOS,
    2: Interpolation.BILINEAR,
    3: Interpolation.BICUBIC,
    4: Interpolation.BOX,
    5: Interpolation.HAMMING,
}

# Processors whose `size` given as one number means the short edge; for all others it means a square
# (transformers.image_processing_utils.get_size_dict and each class's default_to_square).
_SHORTEST_EDGE = ("Bit", "CLIP", "ChineseCLIP", "ConvNext", "LeViT", "MobileNetV", "MobileViT", "PoolFormer")
_BICUBIC = ("Beit", "Bit", "CLIP", "ChineseCLIP", "DeiT", "LeViT", "PoolFormer", "Siglip")

# Keys that change pixels in ways that are not built here, when they are set.
_UNSERVED = (
    "do_pad",
    "do_thumbnail",
    "do_align_long_axis",
    "include_top",
    "do_image_splitting",
    "do_grayscale",
)


def plan_of_processor(content: dict[str, Any], where: str) -> PreprocessPlan:
    """The plan of an image processor that resizes, crops, rescales and normalises.

    Raises:
        ConfigError: a value that makes no sense, or a step that is not built here.
    """
    for key in _UNSERVED:
        if content.get(key):
            raise ConfigError(f"{where}: {key} is not built here", "describe the preprocessing in NAME.toml")
    kind = str(content.get("image_processor_type") or content.get("feature_extractor_type") or "")
    try:
        resize, size, crop = _sizes(content, kind)
        return PreprocessPlan(
            resize, size, crop, _interpolation(content, kind), CropRounding.FLOOR, _normalization(content)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{where}: cannot be understood: {error}", "describe the preprocessing in NAME.toml"
        ) from None


def _sizes(content: dict[str, Any], kind: str) -> tuple[Resize, tuple[int, int], tuple[int, int] | None]:
    crop = _crop(content)
    if not content.get("do_resize", True):
        return Resize.NONE, (1, 1), crop
    size = content.get("size", 224)
    if isinstance(size, int):
        size = {"shortest_edge": size} if kind.startswith(_SHORTEST_EDGE) else {"height": size, "width": size}
    if set(size) == {"height", "width"}:
        return Resize.EXACT, (int(size["height"]), int(size["width"])), crop
    if set(size) != {"shortest_edge"}:
        raise ValueError(f"size = {size}")
    edge = int(size["shortest_edge"])
    if kind.startswith("ConvNext"):
        return _convnext(edge, float(content.get("crop_pct") or 224 / 256))
    if kind.startswith("LeViT"):
        edge = int(256 / 224 * edge)
    elif content.get("crop_pct"):  # PoolFormer
        edge = int(edge / float(content["crop_pct"]))
    return Resize.SHORTEST_EDGE, (edge, edge), crop


def _convnext(edge: int, fraction: float) -> tuple[Resize, tuple[int, int], tuple[int, int] | None]:
    """ConvNextImageProcessor.resize: below 384 a larger short edge and a crop, from 384 on a squash."""
    if edge >= 384:
        return Resize.EXACT, (edge, edge), None
    resized = int(edge / fraction)
    return Resize.SHORTEST_EDGE, (resized, resized), (edge, edge)


def _crop(content: dict[str, Any]) -> tuple[int, int] | None:
    crop = content.get("crop_size")
    if not content.get("do_center_crop", False):
        return None
    if crop is None:
        raise ValueError("do_center_crop without crop_size")
    if isinstance(crop, int):
        return crop, crop
    return int(crop["height"]), int(crop["width"])


def _interpolation(content: dict[str, Any], kind: str) -> Interpolation:
    resample = content.get("resample")
    if resample is None:
        return Interpolation.BICUBIC if kind.startswith(_BICUBIC) else Interpolation.BILINEAR
    if resample not in _RESAMPLE:
        raise ValueError(f"resample = {resample}")
    return _RESAMPLE[resample]


def _normalization(content: dict[str, Any]) -> Normalization:
    scale = float(content.get("rescale_factor") or 1 / 255) if content.get("do_rescale", True) else 1.0
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    # MobileViT's processor has neither key and normalises nothing.
    if content.get("do_normalize", "image_mean" in content):
        if "image_mean" not in content or "image_std" not in content:
            raise ValueError("do_normalize without image_mean and image_std")
        mean, std = _three(content["image_mean"]), _three(content["image_std"])
    if content.get("rescale_offset"):
        # EfficientNet and ViViT: x * scale - 1, then normalised.
        mean = (mean[0] + 1, mean[1] + 1, mean[2] + 1)
    return Normalization(scale, mean, std, "BGR" if content.get("do_flip_channel_order") else "RGB")


def _three(value: Any) -> tuple[float, float, float]:
    if isinstance(value, int | float):
        return float(value), float(value), float(value)
    first, second, third = value
    return float(first), float(second), float(third)
