"""A plan's geometry in the native core's numbers."""

from __future__ import annotations

from beyond_serve.preprocess.dct_scale import least_ratio
from beyond_serve.preprocess.geometry import Geometry
from beyond_serve.preprocess.native import NativeFilter, NativeFlag, NativeParams
from beyond_serve.preprocess.orientation import stored_box, swaps_axes, upright_size
from beyond_serve.preprocess.plan import Fidelity, Interpolation

FILTERS = {
    Interpolation.BOX: NativeFilter.BOX,
    Interpolation.BILINEAR: NativeFilter.BILINEAR,
    Interpolation.HAMMING: NativeFilter.HAMMING,
    Interpolation.BICUBIC: NativeFilter.BICUBIC,
    Interpolation.LANCZOS: NativeFilter.LANCZOS,
}
"""What the core can do; "nearest" is left to others."""

# The core mirrors after resizing, Pillow before. That is the same for every filter that is continuous; a box
# takes a source pixel whole or not at all, and mirrored it decides ties the other way.
_UNMIRRORED = (1, 5)

# The core's own bounds, for a ValueError there would be nobody's fault.
_LARGEST_OUTPUT, _LARGEST_RESIZED = 16384, 1 << 30


def native_params(
    shape: Geometry, interpolation: Interpolation, fidelity: Fidelity, *, tolerate_corrupt: bool = False
) -> NativeParams | None:
    """Numbers for one image; None where the core cannot do what is asked (nearest, padded
    outputs, a mirrored box filter, sizes beyond its own). In "exact" the result is Pillow's, bit by bit."""
    if interpolation not in FILTERS or shape.padded:
        return None
    if max(shape.upright_size) > _LARGEST_OUTPUT or max(shape.resized) > _LARGEST_RESIZED:
        return None
    if interpolation is Interpolation.BOX and shape.orientation not in _UNMIRRORED:
        return None
    width, height = upright_size(*shape.stored, shape.orientation)
    resized_width, resized_height = shape.resized
    left, top = shape.start
    columns, rows = shape.upright_size
    window = (left, top, left + columns, top + rows)
    stored_window = stored_box(window, resized_width, resized_height, shape.orientation)
    resized = upright_size(resized_width, resized_height, shape.orientation)
    flags = NativeFlag.TOLERATE_CORRUPT if tolerate_corrupt else NativeFlag(0)
    flags |= NativeFlag.FANCY_UPSAMPLING
    if vertical_first(width, height, resized_width, resized_height) != swaps_axes(shape.orientation):
        flags |= NativeFlag.VERTICAL_FIRST
    return NativeParams(
        *stored_box(shape.region, width, height, shape.orientation), *resized,
        int(stored_window[0]), int(stored_window[1]), columns, rows,
        filter=FILTERS[interpolation], orientation=shape.orientation,
        min_ratio=least_ratio(interpolation, fidelity), flags=flags,
    )  # fmt: skip


def vertical_first(width: int, height: int, resized_width: int, resized_height: int) -> bool:
    """Whether Pillow (since 13.0) resizes the columns first: its rule, on the image as displayed."""
    shrink = height - resized_height
    return shrink > 0 and shrink > (width - resized_width) * 2
