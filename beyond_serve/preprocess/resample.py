"""Pixels of a decoded image to the output: region, resize, crop, upright, padded; in the caller's memory."""

from __future__ import annotations

from math import ceil, floor, gcd
from typing import NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from beyond_serve.preprocess.decoders import as_rgb
from beyond_serve.preprocess.geometry import REGION_STEP, Geometry
from beyond_serve.preprocess.orientation import Box, stored_box, upright_size, upright_view
from beyond_serve.preprocess.plan import Fidelity, Interpolation

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


_REDUCING_GAP = 2.0
"""Pillow's: averages of whole pixels come first as long as twice the output's pixels remain. 46 dB from
exact on scikit-learn's photographs (bilinear and bicubic, short edges 32 to 256)."""

_LONGEST = 16384
"""Pixels of an axis, beyond those wanted, that are made to get Pillow's own numbers. Invented; of images that
are resized to a short edge of 256, only strips thinner than 1 : 64 would need more."""


class _Axis(NamedTuple):
    """Source [start, end) becomes `made` pixels, of which `kept` from `skip` onwards are wanted."""

    start: float
    end: float
    made: int
    skip: int
    kept: int

    def reach(self, support: float, length: int) -> tuple[int, int]:
        """Whole source pixels that the filter reads, of `length`."""
        margin = support * max(1.0, (self.end - self.start) / self.made) + 1
        return max(0, floor(self.start - margin)), min(length, ceil(self.end + margin))

    def after(self, first: int, last: int) -> _Axis:
        """The same in a source cut to [first, last), which a subtraction's rounding may not leave."""
        return self._replace(start=self.start - first, end=min(self.end, last) - first)


def resample(
    source: Pixels | Image.Image,
    geometry: Geometry,
    interpolation: Interpolation,
    out: Pixels,
    fidelity: Fidelity = "exact",
) -> None:
    """What Pillow makes of turning the image upright, resizing the region (the whole image, if none was
    named) and cutting the crop out.

    Bit by bit in "exact": Pillow holds a box in single precision, so the part that is resized is the crop
    widened until its edges are exact in that. Where this would make more than 16384 pixels of an axis, which
    takes a strip, it is the crop alone, and the result is within two levels (for a box filter: may be of
    neighbouring pixels). "fast" makes the crop alone, of averages where much is shrunk.

    Only source pixels that the filter reaches are touched, turned before its passes run.
    Args:
        source: the image as stored: uint8 [H, W, 3] or [H, W], or Pillow's, of any mode.
        out: uint8 [H, W, 3], the plan's output shape.
    """
    if interpolation is Interpolation.NEAREST:
        pixels = source if isinstance(source, np.ndarray) else np.asarray(as_rgb(source))
        place(_nearest(pixels, geometry), geometry, out)
        return
    kernel, support = _FILTERS[interpolation]
    # A box takes a source pixel whole or not at all: averages would be far from it, and coordinates that are
    # shifted, by however little, decide its ties differently. So it gets the whole axis.
    smooth = interpolation is not Interpolation.BOX
    exact = fidelity == "exact" or not smooth
    across, down = (_axis(geometry, i, exact, smooth) for i in (0, 1))
    left, top, right, bottom = _reached(geometry, across, down, support if smooth else None)
    part = _upright_part(source, (left, top, right, bottom), geometry)
    across, down = across.after(left, right), down.after(top, bottom)
    if exact:
        resized = _two_passes(part, kernel, across, down, _vertical_first(geometry))
    else:
        box = (across.start, down.start, across.end, down.end)
        resized = np.asarray(part.resize(geometry.upright_size, kernel, box, _REDUCING_GAP))
    place(resized, geometry, out)


def _axis(geometry: Geometry, i: int, exact: bool, part: bool) -> _Axis:
    """Columns (0) or rows (1). part: as few of them as give the same numbers."""
    resized, start, kept = geometry.resized[i], geometry.start[i], geometry.upright_size[i]
    if exact:
        near, far = geometry.region[i], geometry.region[i + 2]
        # After so many resized pixels an edge lies on a multiple of REGION_STEP.
        period = resized // gcd(round((far - near) / REGION_STEP), resized) if part else resized
        first, last = start // period * period, -(-(start + kept) // period) * period
        if last - first <= max(_LONGEST, kept):
            low, high = (near + count * (far - near) / resized for count in (first, last))
            return _Axis(low, high, last - first, start - first, kept)
    return _Axis(geometry.upright_box[i], geometry.upright_box[i + 2], kept, 0, kept)


def _reached(
    geometry: Geometry, across: _Axis, down: _Axis, support: float | None
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the upright pixels that the filter reads; without a support, of all."""
    wide, high = upright_size(*geometry.stored, geometry.orientation)
    if support is None:
        return 0, 0, wide, high
    left, right = across.reach(support, wide)
    top, bottom = down.reach(support, high)
    return left, top, right, bottom


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
    source: Image.Image, kernel: Image.Resampling, across: _Axis, down: _Axis, vertical_first: bool
) -> Pixels:
    columns = slice(across.skip, across.skip + across.kept)
    rows = slice(down.skip, down.skip + down.kept)
    if vertical_first:
        low = source.resize((source.width, down.made), kernel, (0, down.start, source.width, down.end))
        low = low.crop((0, rows.start, low.width, rows.stop))
        made = low.resize((across.made, low.height), kernel, (across.start, 0, across.end, low.height))
        return np.asarray(made)[:, columns]
    narrow = source.resize((across.made, source.height), kernel, (across.start, 0, across.end, source.height))
    narrow = narrow.crop((columns.start, 0, columns.stop, narrow.height))
    made = narrow.resize((narrow.width, down.made), kernel, (0, down.start, narrow.width, down.end))
    return np.asarray(made)[rows]


def _upright_part(
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
    left, top, right, bottom = geometry.region
    columns = _nearest_axis(left, (right - left) / geometry.resized[0], geometry, 0)
    rows = _nearest_axis(top, (bottom - top) / geometry.resized[1], geometry, 1)
    picked: Pixels = upright[np.minimum(rows, height - 1)[:, None], np.minimum(columns, width - 1)[None, :]]
    return picked


def _nearest_axis(edge: float, step: float, geometry: Geometry, i: int) -> NDArray[np.intp]:
    """Source index of each wanted column (0) or row (1). Summed as Pillow sums, so that ties fall alike."""
    start, count = geometry.start[i], geometry.upright_size[i]
    steps = np.full(start + count, step)
    steps[0] = edge + step * 0.5
    return np.add.accumulate(steps)[start:].astype(np.intp)
