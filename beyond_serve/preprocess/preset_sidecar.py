"""The `[preprocess]` table of our own NAME.toml."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, TypeVar

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.beside import check_keys
from beyond_serve.preprocess.plan import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CropRounding,
    Interpolation,
    Normalization,
    PreprocessPlan,
    Resize,
)

E = TypeVar("E", bound=StrEnum)

_KEYS = (
    "resize",
    "size",
    "crop",
    "interpolation",
    "crop_rounding",
    "scale",
    "mean",
    "std",
    "channel_order",
)


def plan_of_sidecar(table: Any, where: str) -> PreprocessPlan:
    """The plan that a table describes. Every key has a default; unknown keys are errors.

    Keys:
        resize: "shortest_edge" (default), "exact", "cover" or "none".
        size: pixels, or [height, width]; default 256.
        crop: pixels, [height, width], or false for none; default 224, with resize "exact" none.
        interpolation: "bilinear" (default), "bicubic", "lanczos", "nearest", "box", "hamming".
        crop_rounding: "half_even" (torchvision's, default) or "floor" (transformers').
        scale: what uint8 values are multiplied with, default 1/255.
        mean, std: three numbers in the model's channel order, default ImageNet's.
        channel_order: "RGB" (default) or "BGR".

    Raises:
        ConfigError: an unknown key or a value that makes no sense; `where` begins its message.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table")
    check_keys(table, _KEYS, where)
    resize = _choice(table, "resize", Resize.SHORTEST_EDGE, where)
    crop = table.get("crop", False if resize is Resize.EXACT else 224)
    return PreprocessPlan(
        resize=resize,
        size=_size(table.get("size", 256), "size", where),
        crop=None if crop is False else _size(crop, "crop", where),
        interpolation=_choice(table, "interpolation", Interpolation.BILINEAR, where),
        crop_rounding=_choice(table, "crop_rounding", CropRounding.HALF_EVEN, where),
        normalization=Normalization(
            scale=_number(table.get("scale", 1 / 255), "scale", where),
            mean=_numbers(table.get("mean", IMAGENET_MEAN), "mean", where),
            std=_numbers(table.get("std", IMAGENET_STD), "std", where),
            channel_order=_channel_order(table.get("channel_order", "RGB"), where),
        ),
    )


def _choice(table: dict[str, Any], key: str, default: E, where: str) -> E:
    value = table.get(key, default)
    try:
        return type(default)(value)
    except ValueError:
        known = ", ".join(type(default))
        raise ConfigError(f"{where}: {key} = {value!r} is not known", f"one of: {known}") from None


def _size(value: Any, key: str, where: str) -> tuple[int, int]:
    if type(value) is int:
        return value, value
    if isinstance(value, list) and len(value) == 2 and all(type(edge) is int for edge in value):
        return value[0], value[1]
    raise ConfigError(f"{where}: {key} = {value!r} must be pixels or [height, width]")


def _number(value: Any, key: str, where: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ConfigError(f"{where}: {key} = {value!r} must be a number")


def _numbers(value: Any, key: str, where: str) -> tuple[float, ...]:
    if isinstance(value, list | tuple) and len(value) == 3:
        return tuple(_number(entry, key, where) for entry in value)
    raise ConfigError(f"{where}: {key} = {value!r} must be three numbers")


def _channel_order(value: Any, where: str) -> Literal["RGB", "BGR"]:
    if value == "RGB":
        return "RGB"
    if value == "BGR":
        return "BGR"
    raise ConfigError(f"{where}: channel_order = {value!r} must be RGB or BGR")
