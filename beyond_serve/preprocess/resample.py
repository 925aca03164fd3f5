"""Pixels of a decoded image to the output: crop, resize, turn upright, pad; into the caller's memory."""

from __future__ import annotations

from math import ceil, floor

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from beyond_serve.preprocess.decoders import as_rgb
from beyond_serve.preprocess.orientation import Box, stored_box, upright_size, upright_view
from beyond_serve.preprocess.plan import Geometry, Interpolation

Pixels = NDArray[np.uint8]

_PILLOW_MAJOR = int(PIL.__version__.split(".")[0])

_FILTERS = {
    Interpolation.NEAREST: (Image.Resampling.NEAREST, 0.0),
    Interpolation.BOX: (Image.Resampling.BOX, 0.5),
    Interpolation.BILINEAR: (Image.Resampling.BILINEAR, 1.0),
    Interpolation.HAMMING: (Image.Resampling.HAMMING, 1.0),
    Interpolation.BICUBIC: (Image.Resampling.BICUBIC, 2.0),
    Interpolation.LANCZOS: (Image.Resampling.LANCZOS, 3.0),
}
"""Pillow's filter, and its support in source pixels at scale 1 (libImaging/Resample.c)."""


def resample_exact(
    source: Pixels | Image.Image,
    geometry: Geometry,
    interpolation: Interpolation,
    out: Pixels,
    reducing_gap: float | None = None,
) -> None:
    """What Pillow makes of turning the whole image upright, resizing it and cutting the crop out.

    Equal to that within one level (two where enlarging puts values exactly between levels: Pillow holds a
    box in single precision). Only the region that shows, and the margin that the filter reaches into, is
    touched. The order of Pillow's two passes is kept, and the region is turned before they run.

    Args:
        source: the image as stored: uint8 [H, W, 3] or [H, W], or Pillow's, of any mode.
        out: uint8 [H, W, 3], the plan's output shape.
        reducing_gap: None for exact; otherwise Pillow's, a cheaper average before the filter.
    """
    if interpolation is Interpolation.NEAREST:
        pixels = source if isinstance(source, np.ndarray) else np.asarray(as_rgb(source))
        place(_nearest(pixels, geometry), geometry, out)
        return
    kernel, support = _FILTERS[interpolation]
    bounds = _reach(geometry, support)
    region = _upright_region(source, bounds, geometry)
    left, top, right, bottom = geometry.upright_box
    # A box may not leave the image by a rounding error of the subtraction.
    box = (
        left - bounds[0],
        top - bounds[1],
        min(right - bounds[0], region.width),
        min(bottom - bounds[1], region.height),
    )
    if reducing_gap is None:
        resized = _two_passes(region, geometry.upright_size, kernel, box, _vertical_first(geometry))
    else:
        resized = region.resize(geometry.upright_size, kernel, box, reducing_gap)
    place(np.asarray(resized), geometry, out)


def place(pixels: Pixels, geometry: Geometry, out: Pixels) -> None:
    """Write upright pixels [h, w, 3] or [h, w] where the geometry wants them, black around."""
    height, width = pixels.shape[:2]
    if (height, width) != out.shape[:2]:
        out[...] = 0
        left, top = geometry.place
        out = out[top : top + height, left : left + width]
    out[...] = pixels if pixels.ndim == 3 else pixels[:, :, None]


def _vertical_first(geometry: Geometry) -> bool:
    """Which of its two passes Pillow would run first on the whole image.

    It rounds and clips between them, so the order shows: by more than ten levels where the filter
    overshoots. Up to Pillow 12 the first is always the horizontal one (libImaging/Resample.c). The rule of
    13 was found by experiment: it held for each of 1480 random sizes that told the two orders apart.
    """
    if _PILLOW_MAJOR < 13:
        return False
    width, height = upright_size(*geometry.stored, geometry.orientation)
    saved_rows = height - geometry.resized[1]
    return saved_rows > 0 and saved_rows > 2 * (width - geometry.resized[0])


def _two_passes(
    region: Image.Image, size: tuple[int, int], kernel: Image.Resampling, box: Box, vertical_first: bool
) -> Image.Image:
    columns, rows = size
    left, top, right, bottom = box
    if vertical_first:
        low = region.resize((region.width, rows), kernel, (0, top, region.width, bottom))
        return low.resize(size, kernel, (left, 0, right, rows))
    narrow = region.resize((columns, region.height), kernel, (left, 0, right, region.height))
    return narrow.resize(size, kernel, (0, top, columns, bottom))


def _reach(geometry: Geometry, support: float) -> tuple[int, int, int, int]:
    """The box grown by what the filter reads around it, in whole pixels of the upright image."""
    width, height = upright_size(*geometry.stored, geometry.orientation)
    left, top, right, bottom = geometry.upright_box
    columns, rows = geometry.upright_size
    margin_x = support * max(1.0, (right - left) / columns) + 1
    margin_y = support * max(1.0, (bottom - top) / rows) + 1
    return (
        max(0, floor(left - margin_x)),
        max(0, floor(top - margin_y)),
        min(width, ceil(right + margin_x)),
        min(height, ceil(bottom + margin_y)),
    )


def _upright_region(
    source: Pixels | Image.Image, bounds: tuple[int, int, int, int], geometry: Geometry
) -> Image.Image:
    width, height = upright_size(*geometry.stored, geometry.orientation)
    left, top, right, bottom = _whole(stored_box(bounds, width, height, geometry.orientation))
    if isinstance(source, np.ndarray):
        return Image.fromarray(upright_view(source[top:bottom, left:right], geometry.orientation))
    if (left, top, right, bottom) != (0, 0, *source.size):
        source = source.crop((left, top, right, bottom))
    source = as_rgb(source)
    if geometry.orientation == 1:
        return source
    return Image.fromarray(upright_view(np.asarray(source), geometry.orientation))


def _whole(box: Box) -> tuple[int, int, int, int]:
    return int(box[0]), int(box[1]), int(box[2]), int(box[3])


def _nearest(pixels: Pixels, geometry: Geometry) -> Pixels:
    upright = upright_view(pixels, geometry.orientation)
    height, width = upright.shape[:2]
    columns = _nearest_axis(width, geometry.resized[0], geometry.start[0], geometry.upright_size[0])
    rows = _nearest_axis(height, geometry.resized[1], geometry.start[1], geometry.upright_size[1])
    return upright[rows[:, None], columns[None, :]]


def _nearest_axis(length: int, resized: int, start: int, count: int) -> NDArray[np.intp]:
    """Source index of each output pixel. Summed up as Pillow sums, so that ties fall the same way."""
    steps = np.full(start + count, length / resized)
    steps[0] *= 0.5
    return np.minimum(np.add.accumulate(steps)[start:].astype(np.intp), length - 1)
