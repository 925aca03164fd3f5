"""timm's config.json, as its models are exported to the Hub."""

from __future__ import annotations

import math
from typing import Any

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.plan import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Interpolation,
    Normalization,
    PreprocessPlan,
    Resize,
)

_DEFAULT_CROP_FRACTION = 0.875


def plan_of_timm(
    content: dict[str, Any], where: str, image_size: tuple[int, int] | None
) -> PreprocessPlan | None:
    """The evaluation transform that timm would build (timm.data.transforms_imagenet_eval); None if
    `content` is another library's config.json.

    `image_size`, where the model's input is fixed, takes the place of `input_size`: timm's crop is a
    fraction of it, and models are often exported at another size than they were trained at.

    Raises:
        ConfigError: a value that makes no sense, or a crop mode that is not built here.
    """
    config = content.get("pretrained_cfg", content)
    if not isinstance(config, dict) or "input_size" not in config:
        return None
    try:
        _, height, width = (int(edge) for edge in config["input_size"])
        fraction = float(config.get("crop_pct") or _DEFAULT_CROP_FRACTION)
        mean = tuple(float(value) for value in config.get("mean") or IMAGENET_MEAN)
        std = tuple(float(value) for value in config.get("std") or IMAGENET_STD)
        interpolation = Interpolation(config.get("interpolation") or "bilinear")
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: cannot be understood: {error}") from None
    if not 0 < fraction <= 1:
        raise ConfigError(f"{where}: crop_pct = {fraction} must lie in (0, 1]")
    crop = image_size or (height, width)
    size = (math.floor(crop[0] / fraction), math.floor(crop[1] / fraction))
    mode = config.get("crop_mode") or "center"
    normalization = Normalization(1 / 255, mean, std)
    if mode == "squash":
        return PreprocessPlan(Resize.EXACT, size, crop, interpolation, normalization=normalization)
    if mode != "center":
        raise ConfigError(
            f"{where}: crop_mode '{mode}' is not built here", "describe the preprocessing in NAME.toml"
        )
    if size[0] == size[1]:
        return PreprocessPlan(Resize.SHORTEST_EDGE, size, crop, interpolation, normalization=normalization)
    # timm gives ResizeKeepRatio no interpolation here, so its default, bilinear, applies.
    return PreprocessPlan(Resize.COVER, size, crop, Interpolation.BILINEAR, normalization=normalization)
