"""Resizing arrays of either layout and type with Pillow's filters, whole or a window of the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from beyond_serve.preprocess.dag.bound import Resample
from beyond_serve.preprocess.dag.spec import Layout
from beyond_serve.preprocess.native_plan import vertical_first
from beyond_serve.preprocess.plan import Interpolation

Array = NDArray[Any]
Box = tuple[float, float, float, float]

_PASS_ORDER_VARIES = int(PIL.__version__.split(".")[0]) >= 13


def resize_whole(
    pixels: Array, layout: Layout, size: tuple[int, int], interpolation: Interpolation, *, antialias: bool
) -> Array:
    """All of an image to `size` (width, height), as Pillow does it; same type and layout."""
    kernel = Image.Resampling[interpolation.name]

    def resize(image: Image.Image) -> Image.Image:
        if antialias or interpolation is Interpolation.NEAREST:
            return image.resize(size, kernel)
        return image.transform(size, Image.Transform.EXTENT, (0, 0, *image.size), kernel)

    return _by_image(pixels, layout, resize)


def resample(pixels: Array, layout: Layout, how: Resample) -> Array:
    """The window of the resized image, from the part that `how.offset` places; same type and layout."""
    if how.interpolation is Interpolation.NEAREST:
        return _nearest(pixels, layout, how)
    x, y = how.offset
    left, top, right, bottom = how.box
    kernel = Image.Resampling[how.interpolation.name]
    size = how.window.width, how.window.height

    def resize(image: Image.Image) -> Image.Image:
        # The subtraction may round a box out of the image, which Pillow refuses.
        box = (left - x, top - y, min(right - x, image.width), min(bottom - y, image.height))
        if how.antialias:
            return _two_passes(image, size, kernel, box, how)
        return image.transform(size, Image.Transform.EXTENT, box, kernel)

    return _by_image(pixels, layout, resize)


def _two_passes(
    image: Image.Image, size: tuple[int, int], kernel: Image.Resampling, box: Box, how: Resample
) -> Image.Image:
    """In the order in which Pillow would resize the whole image: it rounds uint8 between them."""
    columns, rows = size
    left, top, right, bottom = box
    if _PASS_ORDER_VARIES and vertical_first(*how.full, *how.resized):
        low = image.resize((image.width, rows), kernel, (0, top, image.width, bottom))
        return low.resize(size, kernel, (left, 0, right, rows))
    narrow = image.resize((columns, image.height), kernel, (left, 0, right, image.height))
    return narrow.resize(size, kernel, (0, top, columns, bottom))


def _by_image(pixels: Array, layout: Layout, change: Callable[[Image.Image], Image.Image]) -> Array:
    """`change` on interleaved uint8 colours at once, on anything else plane by plane."""
    if layout == "HWC" and pixels.shape[2] == 3 and pixels.dtype == np.uint8:
        return np.asarray(change(Image.fromarray(pixels)))
    axis = 2 if layout == "HWC" else 0
    planes = np.moveaxis(pixels, axis, 0)
    made = [np.asarray(change(Image.fromarray(np.ascontiguousarray(plane)))) for plane in planes]
    return np.stack(made, axis=axis)


def _nearest(pixels: Array, layout: Layout, how: Resample) -> Array:
    columns = _picked(how.full[0], how.resized[0], how.window.left, how.window.width) - how.offset[0]
    rows = _picked(how.full[1], how.resized[1], how.window.top, how.window.height) - how.offset[1]
    picked: Array = pixels[rows[:, None], columns] if layout == "HWC" else pixels[:, rows[:, None], columns]
    return picked


def _picked(length: int, resized: int, start: int, count: int) -> NDArray[np.intp]:
    """Source index of each output pixel. Summed up as Pillow sums, so that ties fall the same way."""
    steps = np.full(start + count, length / resized)
    steps[0] *= 0.5
    return np.minimum(np.add.accumulate(steps)[start:].astype(np.intp), length - 1)
