"""Which preprocessing a model wants: from the files beside it, or the ImageNet preset."""

from __future__ import annotations

import math
from pathlib import Path

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.beside import read_json, read_sidecar
from beyond_serve.preprocess.plan import PreprocessPlan, Resize
from beyond_serve.preprocess.preset_huggingface import plan_of_processor
from beyond_serve.preprocess.preset_sidecar import plan_of_sidecar
from beyond_serve.preprocess.preset_timm import plan_of_timm

_DEFAULT_SIZE = (224, 224)
_CROP_FRACTION = 0.875


def load_plan(model_path: Path | None, image_size: tuple[int, int] | None) -> tuple[PreprocessPlan, str]:
    """The plan for a model and one line that says where it comes from.

    Looked for beside the model, the first that exists: `[preprocess]` in NAME.toml,
    preprocessor_config.json (transformers), config.json with `pretrained_cfg` or `input_size` (timm);
    otherwise the ImageNet preset at the model's size: short edge floor(size / 0.875), centre crop.

    Args:
        model_path: the model's file; None where there is none.
        image_size: (H, W) of the model's input; None where it is free.

    Raises:
        ConfigError: a file cannot be used, or makes images of another size than the model takes.
    """
    found = _beside(model_path, image_size) if model_path is not None else None
    if model_path is None or found is None:
        return imagenet_plan(image_size or _DEFAULT_SIZE), "the ImageNet preset (no file beside the model)"
    plan, source = found
    if image_size is not None and plan.output_shape[:2] != tuple(image_size):
        height, width, _ = plan.output_shape
        raise ConfigError(
            f"{source}: makes images of {width}x{height}, the model takes {image_size[1]}x{image_size[0]}",
            f"correct the file, or describe the preprocessing in {model_path.stem}.toml",
        )
    return plan, source


def imagenet_plan(image_size: tuple[int, int]) -> PreprocessPlan:
    """torchvision's reference evaluation transform, scaled from 256 and 224 to the model's size."""
    height, width = image_size
    size = (math.floor(height / _CROP_FRACTION), math.floor(width / _CROP_FRACTION))
    resize = Resize.SHORTEST_EDGE if height == width else Resize.COVER
    return PreprocessPlan(resize, size, image_size)


def _beside(model_path: Path, image_size: tuple[int, int] | None) -> tuple[PreprocessPlan, str] | None:
    sidecar = read_sidecar(model_path)
    if sidecar is not None and "preprocess" in sidecar.content:
        path = str(sidecar.path)
        return plan_of_sidecar(sidecar.content["preprocess"], f"{path}: [preprocess]"), path
    processor = model_path.with_name("preprocessor_config.json")
    if processor.is_file():
        return plan_of_processor(read_json(processor), str(processor)), str(processor)
    config = model_path.with_name("config.json")
    if config.is_file():
        plan = plan_of_timm(read_json(config), str(config), image_size)
        if plan is not None:
            return plan, str(config)
    return None
