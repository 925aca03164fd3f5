"""The operations that a graph is written in. Each tells what it makes of a spec before anything runs.

Every `output` raises ConfigError, saying why, for what it cannot be applied to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.dag.spec import Colour, ImageSpec, Layout, SourceSpec, SpecPattern
from beyond_serve.preprocess.plan import CropRounding, Interpolation, PreprocessPlan
from beyond_serve.preprocess.plan import Resize as ResizeRule

POINT_SAMPLED = (Interpolation.NEAREST, Interpolation.BILINEAR, Interpolation.BICUBIC)
"""The filters that exist without antialiasing."""

ANYTHING = SpecPattern()


@dataclass(frozen=True, slots=True)
class Decode:
    """Encoded bytes to uint8 HWC RGB, turned upright."""

    def output(self, source: SourceSpec) -> ImageSpec:
        return ImageSpec(source.height, source.width)


@dataclass(frozen=True, slots=True)
class Resize:
    """To a size that follows from the image's by `rule`, as in a PreprocessPlan.

    Attributes:
        size: (H, W) for EXACT and COVER; for SHORTEST_EDGE the edge, twice (`shortest` writes it so).
        antialias: the filter widens as it shrinks (Pillow, torchvision's default). Off, it samples at
            points: bilinear, bicubic and nearest only.
    """

    size: tuple[int, int]
    rule: ResizeRule = ResizeRule.EXACT
    interpolation: Interpolation = Interpolation.BILINEAR
    antialias: bool = True

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ConfigError(f"resize: size {self.size} must be at least 1")
        if self.rule is ResizeRule.NONE:
            raise ConfigError("resize: the rule 'none' resizes nothing", "leave the operation out")
        if not self.antialias and self.interpolation not in POINT_SAMPLED:
            raise ConfigError(
                f"resize: '{self.interpolation}' exists with antialiasing only",
                f"without it there are {', '.join(POINT_SAMPLED)}",
            )

    @classmethod
    def shortest(cls, edge: int, interpolation: Interpolation = Interpolation.BILINEAR) -> Resize:
        return cls((edge, edge), ResizeRule.SHORTEST_EDGE, interpolation)

    def output(self, spec: ImageSpec) -> ImageSpec:
        width, height = self._rule_plan().resized_size(spec.width, spec.height)
        if min(width, height) < 1:
            raise ConfigError(f"resize makes {width}x{height} of {spec.width}x{spec.height}")
        return replace(spec, height=height, width=width)

    def _rule_plan(self) -> PreprocessPlan:
        # The plan's arithmetic, so that a graph and a plan never round a size differently.
        return PreprocessPlan(resize=self.rule, size=self.size)


@dataclass(frozen=True, slots=True)
class Crop:
    """Cut out `size` (H, W): at (left, top) where `corner` is given, else at the centre.

    Nothing is padded: an image smaller than the crop is refused.
    """

    size: tuple[int, int]
    corner: tuple[int, int] | None = None
    rounding: CropRounding = CropRounding.HALF_EVEN

    def __post_init__(self) -> None:
        if min(self.size) < 1 or min(self.corner or (0, 0)) < 0:
            raise ConfigError(f"crop: size {self.size} at {self.corner} is nowhere in an image")

    def start(self, spec: ImageSpec) -> tuple[int, int]:
        """(left, top) in an image of `spec`."""
        if self.corner is not None:
            return self.corner
        return self._centred(spec.width, self.size[1]), self._centred(spec.height, self.size[0])

    def output(self, spec: ImageSpec) -> ImageSpec:
        left, top = self.start(spec)
        height, width = self.size
        if min(left, top) < 0 or left + width > spec.width or top + height > spec.height:
            where = f" at ({left}, {top})" if self.corner else ""
            raise ConfigError(f"crop {width}x{height}{where} does not fit into {spec.width}x{spec.height}")
        return replace(spec, height=height, width=width)

    def _centred(self, length: int, part: int) -> int:
        cut = length - part
        return round(cut / 2) if self.rounding is CropRounding.HALF_EVEN else cut // 2


@dataclass(frozen=True, slots=True)
class Convert:
    """uint8 to float32, times `scale`."""

    scale: float = 1 / 255

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ConfigError(f"convert: scale {self.scale} must be above 0")

    def output(self, spec: ImageSpec) -> ImageSpec:
        if spec.dtype != "uint8":
            raise ConfigError(f"convert takes uint8, here is {spec.dtype}", "convert once")
        return replace(spec, dtype="float32")


@dataclass(frozen=True, slots=True)
class Normalize:
    """(x - mean) / std by channel, in the order that the channels have where it stands; float32."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or min(self.std, default=0) <= 0:
            raise ConfigError(f"normalize: {len(self.mean)} means and std {self.std}: need as many, above 0")

    def output(self, spec: ImageSpec) -> ImageSpec:
        if spec.dtype != "float32":
            raise ConfigError(f"normalize takes float32, here is {spec.dtype}", "convert before it")
        if spec.channels != len(self.mean):
            raise ConfigError(f"normalize has {len(self.mean)} means, the image {spec.channels} channels")
        return spec


@dataclass(frozen=True, slots=True)
class Reorder:
    """To a layout, to a colour order, or to both. None leaves it as it is."""

    layout: Layout | None = None
    colour: Colour | None = None

    def __post_init__(self) -> None:
        if self.colour == "other":
            raise ConfigError("reorder: the colours' order can become RGB or BGR")

    def output(self, spec: ImageSpec) -> ImageSpec:
        if self.colour and (spec.channels != 3 or spec.colour == "other"):
            raise ConfigError(
                f"reorder to {self.colour}: the image's {spec.channels} channels are not colours"
            )
        return replace(spec, layout=self.layout or spec.layout, colour=self.colour or spec.colour)


@dataclass(frozen=True, slots=True)
class UserFunction:
    """A Python function of one or more images, opaque: nothing is moved across it, unless it is `pointwise`.

    Attributes:
        function: takes one read-only array for each of `takes`; returns an array as `gives` says. Must be
            pure: it may run on a crop only, and in another order than written.
        takes: what each input must be.
        gives: what it returns; open parts are those of its first input.
        pointwise: each pixel follows from the pixel at the same place alone, so that cropping before
            it, or picking pixels, gives the same. One input and the same size only.
        gain: at most by how much its output differs for inputs that differ by 1; None where unknown, and
            then nothing is promised of its output where its input is not bit-equal.
        largest: the largest magnitude of its output; only bounds of float rounding follow from it.
    """

    name: str
    function: Callable[..., NDArray[Any]]
    takes: tuple[SpecPattern, ...] = (ANYTHING,)
    gives: SpecPattern = ANYTHING
    pointwise: bool = False
    gain: float | None = None
    largest: float = 255.0

    def __post_init__(self) -> None:
        if not self.takes:
            raise ConfigError(f"function '{self.name}' takes no image")
        if self.pointwise and (len(self.takes) > 1 or self.gives.height or self.gives.width):
            raise ConfigError(f"function '{self.name}': pointwise is one image to one of the same size")

    def output(self, *specs: ImageSpec) -> ImageSpec:
        if len(specs) != len(self.takes):
            raise ConfigError(f"function '{self.name}' takes {len(self.takes)} images, here are {len(specs)}")
        for number, (pattern, spec) in enumerate(zip(self.takes, specs, strict=True), start=1):
            if wrong := pattern.mismatch(spec):
                which = f"input {number} of " if len(specs) > 1 else ""
                raise ConfigError(f"{which}function '{self.name}': {wrong}")
        return self.gives.filled(specs[0])


Op = Decode | Resize | Crop | Convert | Normalize | Reorder | UserFunction
