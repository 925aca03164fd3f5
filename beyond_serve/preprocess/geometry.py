"""A plan applied to one image, or to a region of it: which source pixels make which output pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite

from beyond_serve.errors import InvalidRequestError
from beyond_serve.preprocess.orientation import Box, stored_box, upright_box, upright_size
from beyond_serve.preprocess.plan import CropRounding, PreprocessPlan, Resize

REGION_STEP = 1 / 256
"""Pixels. A region's edges are rounded to multiples of it: edges and their differences are then exact in
Pillow's single precision, so that its box and ours are the same numbers (up to 65535 pixels)."""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of an image, such as a face, that takes the image's place in a plan.

    In pixels of the image as a person sees it (EXIF orientation applied), edges between pixels being whole:
    (0, 0, width, height) is the whole image. Edges are used to the nearest 1/256 pixel, and to the nearest
    whole pixel by plans that do not resize.

    Raises:
        InvalidRequestError: an edge is not finite, or right and bottom do not lie beyond left and top.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not all(isfinite(edge) for edge in self.edges):
            raise InvalidRequestError(f"the region {self} has an edge that is no finite number")
        if self.right <= self.left or self.bottom <= self.top:
            raise InvalidRequestError(
                f"the region {self} is empty", "right must be greater than left, and bottom than top"
            )

    def __str__(self) -> str:
        return "({:g}, {:g}, {:g}, {:g})".format(*self.edges)

    @property
    def edges(self) -> Box:
        return (self.left, self.top, self.right, self.bottom)

    def within(self, width: int, height: int, step: float) -> Box:
        """The edges to the nearest multiple of `step`, for an upright image of width x height.

        Raises:
            InvalidRequestError: the region does not lie inside the image, or nothing of it is left.
        """
        if self.left < 0 or self.top < 0 or self.right > width or self.bottom > height:
            raise InvalidRequestError(
                f"the region {self} does not lie inside the image, which is {width}x{height} upright",
                "cut the region to the image",
            )
        left, top, right, bottom = (round(edge / step) * step for edge in self.edges)
        if right <= left or bottom <= top:
            raise InvalidRequestError(f"the region {self} is smaller than {step:g} pixels")
        return left, top, right, bottom


@dataclass(frozen=True, slots=True)
class Geometry:
    """Which source pixels make which output pixels, so that the crop comes before the resize.

    `region` of the upright image is resized to `resized`, which is never materialised; of that the window of
    `upright_size` at `start` is made and put at `place`. The window's own source is `upright_box`.

    Attributes:
        stored: (width, height) of the image as stored.
        orientation: EXIF orientation, 1 to 8.
        region: source region in the upright image; the whole image unless a caller named one.
        resized: (width, height) of what the region becomes.
        start: (left, top) of the window in it.
        upright_size: (width, height) of the window.
        place: (left, top) of the window in the output.
        padded: the window is smaller than the output; all outside is black.
        upright_box: the window's edges mapped back to the upright image, without rounding.
    """

    stored: tuple[int, int]
    orientation: int
    region: Box
    resized: tuple[int, int]
    start: tuple[int, int]
    upright_size: tuple[int, int]
    place: tuple[int, int]
    padded: bool
    upright_box: Box

    @property
    def box(self) -> Box:
        """`upright_box` in the image as stored."""
        width, height = upright_size(*self.stored, self.orientation)
        return stored_box(self.upright_box, width, height, self.orientation)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of what `box` becomes before it is turned upright."""
        return upright_size(*self.upright_size, self.orientation)

    def reduced(self, denominator: int) -> Geometry:
        """The same window out of an image that the decoder shrank: ceil(edge / denominator) each, with pixel
        (x, y) covering denominator * (x, y) onwards."""
        if denominator == 1:
            return self
        upright = upright_size(*self.stored, self.orientation)
        width, height = -(-self.stored[0] // denominator), -(-self.stored[1] // denominator)

        def shrunk(box: Box) -> Box:
            left, top, right, bottom = stored_box(box, *upright, self.orientation)
            scaled = (left / denominator, top / denominator, right / denominator, bottom / denominator)
            return upright_box(scaled, width, height, self.orientation)

        return replace(
            self,
            stored=(width, height),
            region=shrunk(self.region),
            upright_box=shrunk(self.upright_box),
        )


def geometry(
    plan: PreprocessPlan, width: int, height: int, orientation: int = 1, region: Region | None = None
) -> Geometry:
    """The plan applied to an image stored as width x height, or to a region of it. Pure; allocates nothing.

    With a region the result is that of Pillow's `upright.resize(size, filter, box=region)` followed by the
    plan's crop: the region's size takes the image's place wherever the plan looks at sizes, while the filter
    at the region's edges reads the pixels around it, as Pillow's does.

    Raises:
        InvalidRequestError: the region does not lie inside the image, or is smaller than a step.
    """
    upright = upright_size(width, height, orientation)
    if region is None:
        source: Box = (0, 0, *upright)
    else:
        source = region.within(*upright, 1 if plan.resize is Resize.NONE else REGION_STEP)
    wide, high = source[2] - source[0], source[3] - source[1]
    resized = plan.resized_size(wide, high)
    crop_height, crop_width = plan.crop or (resized[1], resized[0])
    left, columns, place_left = _crop_axis(resized[0], crop_width, plan.crop_rounding)
    top, rows, place_top = _crop_axis(resized[1], crop_height, plan.crop_rounding)
    # Multiplied before dividing: the far edge of an uncropped axis is then exactly the region's edge.
    box = (
        source[0] + left * wide / resized[0],
        source[1] + top * high / resized[1],
        source[0] + (left + columns) * wide / resized[0],
        source[1] + (top + rows) * high / resized[1],
    )
    return Geometry(
        stored=(width, height),
        orientation=orientation,
        region=source,
        resized=resized,
        start=(left, top),
        upright_size=(columns, rows),
        place=(place_left, place_top),
        padded=(columns, rows) != (crop_width, crop_height),
        upright_box=box,
    )


def _crop_axis(length: int, crop: int, rounding: CropRounding) -> tuple[int, int, int]:
    """(start, count) of the kept part of an axis, and where it lies in the output.

    An axis shorter than the crop is padded, the odd pixel at the far end: torchvision's center_crop.
    """
    if length < crop:
        return 0, length, (crop - length) // 2
    cut = length - crop
    return (round(cut / 2) if rounding is CropRounding.HALF_EVEN else cut // 2), crop, 0
