"""What the whole of preprocessing has to equal: the steps, one after the other, by Pillow, nothing saved."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

from beyond_serve.preprocess.geometry import Region
from beyond_serve.preprocess.plan import CropRounding, PreprocessPlan, Resize
from tests.preprocess.images import Pixels

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def preprocess(data: bytes, plan: PreprocessPlan, region: Region | None = None) -> Pixels:
    image = Image.open(io.BytesIO(data))
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "P":
        upright.info.pop("transparency", None)
    return resize_and_crop(upright.convert("RGB"), plan, region)


def resize_and_crop(image: Image.Image, plan: PreprocessPlan, region: Region | None = None) -> Pixels:
    left, top, right, bottom = region.edges if region else (0, 0, *image.size)
    if plan.resize is not Resize.NONE:
        size = plan.resized_size(right - left, bottom - top)
        image = image.resize(size, FILTERS[plan.interpolation], (left, top, right, bottom))
    else:
        image = image.crop((round(left), round(top), round(right), round(bottom)))
    if plan.crop is None:
        return np.asarray(image)
    crop_height, crop_width = plan.crop
    pad_left = max(0, (crop_width - image.width) // 2)
    pad_top = max(0, (crop_height - image.height) // 2)
    padded = Image.new("RGB", (max(image.width, crop_width), max(image.height, crop_height)))
    padded.paste(image, (pad_left, pad_top))
    left, top = padded.width - crop_width, padded.height - crop_height
    if plan.crop_rounding is CropRounding.FLOOR:
        left, top = left // 2, top // 2
    else:
        left, top = round(left / 2.0), round(top / 2.0)
    return np.asarray(padded.crop((left, top, left + crop_width, top + crop_height)))
