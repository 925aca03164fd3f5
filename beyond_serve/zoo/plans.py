"""Preprocessing of the published checkpoints, as their repositories' preprocessor_config.json say it."""

from __future__ import annotations

import math
from dataclasses import replace

from beyond_serve.preprocess.plan import (
    CropRounding,
    Interpolation,
    Normalization,
    PreprocessPlan,
    Resize,
)

_HALVES = Normalization(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
_PLAIN_BGR = Normalization(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), channel_order="BGR")


def _squash(interpolation: Interpolation, normalization: Normalization) -> PreprocessPlan:
    return PreprocessPlan(Resize.EXACT, (224, 224), None, interpolation, CropRounding.FLOOR, normalization)


def _crop(
    edge: int, size: int, interpolation: Interpolation, normalization: Normalization, resize: Resize
) -> PreprocessPlan:
    return PreprocessPlan(
        resize, (edge, edge), (size, size), interpolation, CropRounding.FLOOR, normalization
    )


VIT = _squash(Interpolation.BILINEAR, _HALVES)
SWIN = _squash(Interpolation.BICUBIC, Normalization())
DEIT = _crop(256, 224, Interpolation.BICUBIC, Normalization(), Resize.EXACT)
CONVNEXT = _crop(256, 224, Interpolation.BICUBIC, Normalization(), Resize.SHORTEST_EDGE)
POOLFORMER = _crop(248, 224, Interpolation.BICUBIC, Normalization(), Resize.SHORTEST_EDGE)
MOBILENET = _crop(256, 224, Interpolation.BILINEAR, _HALVES, Resize.SHORTEST_EDGE)
MOBILEVIT = _crop(288, 256, Interpolation.BILINEAR, _PLAIN_BGR, Resize.SHORTEST_EDGE)


def at_size(plan: PreprocessPlan, image_size: int) -> PreprocessPlan:
    """`plan` for a square input of `image_size` pixels: the share of the image that is cut off stays."""
    height, width, _ = plan.output_shape
    if (height, width) == (image_size, image_size):
        return plan
    if plan.crop is None:
        return replace(plan, size=(image_size, image_size))
    size = (
        math.floor(plan.size[0] * image_size / height),
        math.floor(plan.size[1] * image_size / width),
    )
    return replace(plan, size=size, crop=(image_size, image_size))
