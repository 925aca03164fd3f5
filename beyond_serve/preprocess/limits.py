"""Refusing images that would cost too much, from their header alone, before any pixel is allocated."""

from __future__ import annotations

from dataclasses import dataclass

from beyond_serve.errors import ConfigError, PayloadTooLargeError
from beyond_serve.preprocess.geometry import Region
from beyond_serve.preprocess.header import ImageHeader
from beyond_serve.preprocess.orientation import upright_size
from beyond_serve.preprocess.plan import PreprocessPlan


@dataclass(frozen=True, slots=True)
class PixelLimits:
    """How many pixels an image may have.

    Attributes:
        max_pixels: width x height by the image's header.
        max_resized_pixels: width x height that resizing the whole image would make. This server crops
            before it resizes and would not make them; other implementations of the same preprocessing
            do (a JPEG of 3 x 59424 in 504 bytes becomes 1.3 gigapixels), and a strip thinner than about
            1 : 760 is a mistake and not a picture, so it is refused in one line and not guessed at.
    """

    max_pixels: int = 50_000_000
    max_resized_pixels: int = 50_000_000

    def __post_init__(self) -> None:
        if self.max_pixels < 1 or self.max_resized_pixels < 1:
            raise ConfigError("pixel limits must be at least 1")

    def check(self, header: ImageHeader, plan: PreprocessPlan, region: Region | None = None) -> None:
        """Raises PayloadTooLargeError if the image, or all of it (or the region) resized, is too large."""
        width, height = header.width, header.height
        if width * height > self.max_pixels:
            raise PayloadTooLargeError(
                f"the image's header says {width}x{height}, {_megapixels(width * height)}; "
                f"the limit is {_megapixels(self.max_pixels)}",
                "send a smaller image, or raise the pixel limit",
            )
        upright: tuple[float, float] = upright_size(width, height, header.orientation)
        if region is not None:
            upright = region.right - region.left, region.bottom - region.top
        wide, high = plan.resized_size(*upright)
        if wide * high > self.max_resized_pixels:
            what = f"image is {width}x{height}" if region is None else f"region is {region}"
            raise PayloadTooLargeError(
                f"the {what}: resizing it ({plan.describe()}) would make {wide}x{high}, "
                f"{_megapixels(wide * high)}; the limit is {_megapixels(self.max_resized_pixels)}",
                "crop to a less extreme aspect ratio",
            )


def _megapixels(pixels: int) -> str:
    return f"{pixels / 1e6:.4g} megapixels" if pixels >= 100_000 else f"{pixels} pixels"
