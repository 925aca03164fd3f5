"""What an image is between two operations: its shape, type and layout, known before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

DType = Literal["uint8", "float32"]
Layout = Literal["HWC", "CHW"]
Colour = Literal["RGB", "BGR", "other"]


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """An encoded image, as its header tells it.

    Attributes:
        width, height: pixels as a person sees the image, orientation applied.
    """

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """An array of pixels. colour: the order of the three channels; "other" for anything else."""

    height: int
    width: int
    channels: int = 3
    dtype: DType = "uint8"
    layout: Layout = "HWC"
    colour: Colour = "RGB"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the array, in the order of the layout."""
        size = (self.height, self.width)
        return (*size, self.channels) if self.layout == "HWC" else (self.channels, *size)

    @property
    def elements(self) -> int:
        return self.height * self.width * self.channels

    @property
    def bytes_per_element(self) -> int:
        return np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        colour = f" {self.colour}" if self.channels == 3 and self.colour != "other" else ""
        return f"{self.dtype} {self.width}x{self.height}x{self.channels} {self.layout}{colour}"


@dataclass(frozen=True, slots=True)
class SpecPattern:
    """What a user's function takes, or gives: None takes anything, and gives what its first input had."""

    height: int | None = None
    width: int | None = None
    channels: int | None = None
    dtype: DType | None = None
    layout: Layout | None = None
    colour: Colour | None = None

    def mismatch(self, spec: ImageSpec) -> str | None:
        """The first thing in which `spec` is not as declared, in words; None where all is."""
        for name in self.__slots__:
            wanted, found = getattr(self, name), getattr(spec, name)
            if wanted is not None and wanted != found:
                return f"{name} is {found}, it takes {wanted}"
        return None

    def filled(self, spec: ImageSpec) -> ImageSpec:
        """The pattern with what it leaves open taken from `spec`."""
        given: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return replace(spec, **{name: value for name, value in given.items() if value is not None})
