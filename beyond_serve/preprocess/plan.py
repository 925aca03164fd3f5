"""What happens to an image between its bytes and a row of the model's input: a plan.

The order of a plan is: decode, turn upright (EXIF), resize, centre crop (padding with black where the
resized image is smaller), uint8 RGB. Normalisation is declared here and done in the engine's graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from beyond_serve.errors import ConfigError

Fidelity = Literal["exact", "fast"]
"""exact: Pillow's own pixels. fast: a cheaper decode and resize, at least 38 dB from them on photographs."""

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

    def resized_size(self, width: float, height: float) -> tuple[int, int]:
        """(width, height) that an upright image, or a region of one, is resized to, before the crop."""
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
                return int(width), int(height)

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
