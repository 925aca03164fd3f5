"""What happens to an image between its bytes and a row of the model's input: a plan, and its geometry.

The order of a plan is: decode, turn upright (EXIF), resize, centre crop (padding with black where the
resized image is smaller), uint8 RGB. Normalisation is declared here and done in the engine's graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.orientation import Box, stored_box, upright_box, upright_size

Fidelity = Literal["exact", "fast"]
"""exact: Pillow's own pixels within one level. fast: a cheaper decode and resize, close to them."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Resize(StrEnum):
    """How the size after resizing follows from an upright image's size.

    SHORTEST_EDGE: the short edge becomes `size`, the other int(size * long / short), as torchvision's
        Resize(int) and transformers' {"shortest_edge": n} round it.
    EXACT: (H, W) whatever the aspect ratio.
    COVER: the smallest size of the image's aspect ratio that covers (H, W); both edges rounded, as
        timm's ResizeKeepRatio does for inputs that are not square.
    NONE: no resizing.
    """

    SHORTEST_EDGE = "shortest_edge"
    EXACT = "exact"
    COVER = "cover"
    NONE = "none"


class Interpolation(StrEnum):
    """Pillow's filters, antialiased when they shrink."""

    NEAREST = "nearest"
    BOX = "box"
    BILINEAR = "bilinear"
    HAMMING = "hamming"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


class CropRounding(StrEnum):
    """Where a centre crop starts when what is cut off is odd.

    HALF_EVEN: int(round(d / 2)), torchvision's functional.center_crop.
    FLOOR: d // 2, transformers' center_crop.
    """

    HALF_EVEN = "half_even"
    FLOOR = "floor"


@dataclass(frozen=True, slots=True)
class Normalization:
    """What the engine's graph does to uint8 values x: (x * scale - mean) / std, by channel.

    mean, std: in the order of `channel_order`, which is the order that the model wants.
    """

    scale: float = 1 / 255
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channel_order: Literal["RGB", "BGR"] = "RGB"

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ConfigError("normalization: mean and std need three numbers each")
        if any(value == 0 for value in self.std):
            raise ConfigError("normalization: a std of 0 divides by zero")


@dataclass(frozen=True, slots=True)
class PreprocessPlan:
    """From encoded bytes to uint8 [H, W, 3] RGB.

    Attributes:
        resize: how the resized size is found.
        size: (H, W) for EXACT and COVER; for SHORTEST_EDGE the edge, twice; ignored for NONE.
        crop: (H, W) of the centre crop; None only with EXACT.
        interpolation: of the resizing.
        crop_rounding: of the crop's place.
        normalization: for the engine's graph.

    Raises:
        ConfigError: a size below 1, or no crop where the resized size is not fixed.
    """

    resize: Resize = Resize.SHORTEST_EDGE
    size: tuple[int, int] = (256, 256)
    crop: tuple[int, int] | None = (224, 224)
    interpolation: Interpolation = Interpolation.BILINEAR
    crop_rounding: CropRounding = CropRounding.HALF_EVEN
    normalization: Normalization = field(default_factory=Normalization)

    def __post_init__(self) -> None:
        if self.crop is None and self.resize is not Resize.EXACT:
            raise ConfigError(
                f"preprocessing: resize '{self.resize}' without a crop gives no fixed size",
                "name a crop, or use resize 'exact'",
            )
        if min(*self.size, *(self.crop or (1, 1))) < 1:
            raise ConfigError(f"preprocessing: size {self.size} and crop {self.crop} must be at least 1")

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(H, W, 3) of every image that comes out, uint8 RGB."""
        height, width = self.crop or self.size
        return (height, width, 3)

    def resized_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of an upright image after resizing, before the crop. Never allocated."""
        match self.resize:
            case Resize.SHORTEST_EDGE:
                edge = self.size[0]
                if width <= height:
                    return edge, int(edge * height / width)
                return int(edge * width / height), edge
            case Resize.EXACT:
                return self.size[1], self.size[0]
            case Resize.COVER:
                ratio = min(height / self.size[0], width / self.size[1])
                return max(1, round(width / ratio)), max(1, round(height / ratio))
            case Resize.NONE:
                return width, height

    def describe(self) -> str:
        """One line for people."""
        height, width = self.size
        what = {
            Resize.SHORTEST_EDGE: f"short edge to {height}",
            Resize.EXACT: f"resize to {width}x{height}",
            Resize.COVER: f"resize to cover {width}x{height}",
            Resize.NONE: "no resize",
        }[self.resize]
        kernel = "" if self.resize is Resize.NONE else f" ({self.interpolation})"
        crop = f", centre crop {self.crop[1]}x{self.crop[0]}" if self.crop else ""
        return f"{what}{kernel}{crop}"


@dataclass(frozen=True, slots=True)
class Geometry:
    """Which source pixels make which output pixels, so that the crop comes before the resize.

    Resampling `upright_box` of the upright image to `upright_size` equals resizing the whole image and
    cutting the crop out: the box's edges are the crop's, mapped back without rounding.

    Attributes:
        stored: (width, height) of the image as stored.
        orientation: EXIF orientation, 1 to 8.
        upright_box: source region in the upright image.
        upright_size: (width, height) of what the region becomes.
        start: (left, top) of the crop in the resized upright image.
        place: (left, top) of what the region becomes in the output; all outside is black.
        resized: (width, height) of the whole upright image after resizing; never materialised.
    """

    stored: tuple[int, int]
    orientation: int
    upright_box: Box
    upright_size: tuple[int, int]
    start: tuple[int, int]
    place: tuple[int, int]
    resized: tuple[int, int]

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
        """The same crop out of an image that the decoder shrank: ceil(edge / denominator) each, with pixel
        (x, y) covering denominator * (x, y) onwards."""
        if denominator == 1:
            return self
        width, height = -(-self.stored[0] // denominator), -(-self.stored[1] // denominator)
        left, top, right, bottom = (edge / denominator for edge in self.box)
        box = upright_box((left, top, right, bottom), width, height, self.orientation)
        return replace(self, stored=(width, height), upright_box=box)


def geometry(plan: PreprocessPlan, width: int, height: int, orientation: int = 1) -> Geometry:
    """The plan applied to an image stored as width x height. Pure; allocates nothing."""
    upright_width, upright_height = upright_size(width, height, orientation)
    resized = plan.resized_size(upright_width, upright_height)
    crop_height, crop_width = plan.crop or (resized[1], resized[0])
    left, columns, place_left = _crop_axis(resized[0], crop_width, plan.crop_rounding)
    top, rows, place_top = _crop_axis(resized[1], crop_height, plan.crop_rounding)
    # Multiplied before dividing: the far edge of an uncropped axis is then exactly the image's edge.
    box = (
        left * upright_width / resized[0],
        top * upright_height / resized[1],
        (left + columns) * upright_width / resized[0],
        (top + rows) * upright_height / resized[1],
    )
    return Geometry(
        (width, height), orientation, box, (columns, rows), (left, top), (place_left, place_top), resized
    )


def _crop_axis(length: int, crop: int, rounding: CropRounding) -> tuple[int, int, int]:
    """(start, count) of the kept part of an axis, and where it lies in the output.

    An axis shorter than the crop is padded, the odd pixel at the far end: torchvision's center_crop.
    """
    if length < crop:
        return 0, length, (crop - length) // 2
    cut = length - crop
    return (round(cut / 2) if rounding is CropRounding.HALF_EVEN else cut // 2), crop, 0
