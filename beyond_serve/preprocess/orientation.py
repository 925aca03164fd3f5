"""The eight EXIF orientations as a transposition followed by flips."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""Left, top, right, bottom; in pixels, edges between pixels being whole numbers."""


class _Turn(NamedTuple):
    """upright = flip(transpose(stored)): first `swap` the axes, then mirror."""

    swap: bool
    mirror_x: bool
    mirror_y: bool


# TIFF 6.0, tag 274; the same pictures as Pillow's ImageOps.exif_transpose makes.
_TURNS = {
    1: _Turn(False, False, False),
    2: _Turn(False, True, False),
    3: _Turn(False, True, True),
    4: _Turn(False, False, True),
    5: _Turn(True, False, False),
    6: _Turn(True, True, False),
    7: _Turn(True, True, True),
    8: _Turn(True, False, True),
}


def swaps_axes(orientation: int) -> bool:
    return _TURNS[orientation].swap


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """(width, height) as seen by a person, of an image stored as width x height."""
    return (height, width) if swaps_axes(orientation) else (width, height)


def stored_box(box: Box, width: int, height: int, orientation: int) -> Box:
    """Where `box`, given upright in an image of upright size width x height, lies in the stored image."""
    left, top, right, bottom = box
    turn = _TURNS[orientation]
    if turn.mirror_x:
        left, right = width - right, width - left
    if turn.mirror_y:
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if turn.swap else (left, top, right, bottom)


def upright_box(box: Box, width: int, height: int, orientation: int) -> Box:
    """The inverse of `stored_box`; width x height is the stored size."""
    left, top, right, bottom = box
    turn = _TURNS[orientation]
    if turn.swap:
        left, top, right, bottom = top, left, bottom, right
        width, height = height, width
    if turn.mirror_x:
        left, right = width - right, width - left
    if turn.mirror_y:
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


def upright_view(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A view of `pixels` [H, W] or [H, W, C] with the orientation applied; copies nothing."""
    turn = _TURNS[orientation]
    if turn.swap:
        pixels = pixels.swapaxes(0, 1)
    if turn.mirror_x:
        pixels = pixels[:, ::-1]
    if turn.mirror_y:
        pixels = pixels[::-1]
    return pixels
