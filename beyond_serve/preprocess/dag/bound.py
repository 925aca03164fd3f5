"""Operations bound to one image's size: what is moved about, fused and run.

Decode, Convert, Normalize, Reorder and UserFunction stand for themselves; Resize and Crop become what they
are in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor

from beyond_serve.preprocess.dag.ops import Convert, Decode, Normalize, Reorder, UserFunction
from beyond_serve.preprocess.dag.spec import ImageSpec
from beyond_serve.preprocess.plan import Interpolation

SUPPORT = {
    Interpolation.NEAREST: 0.5,
    Interpolation.BOX: 0.5,
    Interpolation.BILINEAR: 1.0,
    Interpolation.HAMMING: 1.0,
    Interpolation.BICUBIC: 2.0,
    Interpolation.LANCZOS: 3.0,
}
"""Of each filter, in source pixels at scale 1 (Pillow's libImaging/Resample.c)."""

OVERSHOOTING = (Interpolation.BICUBIC, Interpolation.LANCZOS)
"""Filters with negative lobes: their results leave the range of their inputs, and uint8 clips them."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The box at (left, top), in pixels."""

    left: int
    top: int
    width: int
    height: int

    def output(self, spec: ImageSpec) -> ImageSpec:
        return replace(spec, height=self.height, width=self.width)

    def inside(self, outer: Cut) -> Cut:
        """This cut of what `outer` cuts out, as one."""
        return replace(self, left=outer.left + self.left, top=outer.top + self.top)


@dataclass(frozen=True, slots=True)
class Resample:
    """A window of a resized image, from a part of the source that is large enough for it.

    Attributes:
        full: (width, height) of the image whose resizing it is.
        resized: (width, height) that all of it would become.
        offset: (x, y) of the given part in the full image.
        window: of the resized image, what is made.
    """

    full: tuple[int, int]
    resized: tuple[int, int]
    offset: tuple[int, int]
    window: Cut
    interpolation: Interpolation
    antialias: bool

    def output(self, spec: ImageSpec) -> ImageSpec:
        return replace(spec, height=self.window.height, width=self.window.width)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The window in the full image: left, top, right, bottom, not rounded; as `geometry` has it."""
        window, (width, height), (wide, high) = self.window, self.full, self.resized
        # Multiplied before dividing: an uncropped axis then ends exactly at the image's edge.
        return (
            window.left * width / wide,
            window.top * height / high,
            (window.left + window.width) * width / wide,
            (window.top + window.height) * height / high,
        )

    def cropped(self, cut: Cut, given: ImageSpec) -> tuple[Cut, Resample]:
        """Cropping first: the cut of the given part that the filter reads for `cut` of the result, and the
        resampling from that. Equal to resizing and then cutting, but for rounding (see tolerance.py)."""
        narrowed = replace(self, window=cut.inside(self.window))
        x, y = self.offset
        left, top, right, bottom = narrowed.reach
        left, top = max(left, x), max(top, y)
        right, bottom = min(right, x + given.width), min(bottom, y + given.height)
        return (
            Cut(left - x, top - y, right - left, bottom - top),
            replace(narrowed, offset=(left, top)),
        )

    @property
    def reach(self) -> tuple[int, int, int, int]:
        """The box grown by what the filter reads around it, in whole pixels of the full image."""
        left, top, right, bottom = self.box
        across, down = self._margin(0), self._margin(1)
        return (
            max(0, floor(left - across)),
            max(0, floor(top - down)),
            min(self.full[0], ceil(right + across)),
            min(self.full[1], ceil(bottom + down)),
        )

    def taps(self, axis: int) -> float:
        """Source pixels that one output pixel is made of, along an axis (0 across, 1 down)."""
        return 2 * SUPPORT[self.interpolation] * self._stretch(axis)

    def _margin(self, axis: int) -> float:
        return SUPPORT[self.interpolation] * self._stretch(axis) + 1

    def _stretch(self, axis: int) -> float:
        return max(1.0, self.full[axis] / self.resized[axis]) if self.antialias else 1.0


@dataclass(frozen=True, slots=True)
class Fused:
    """Conversions, normalisations and reorderings in one pass over the pixels, in this order."""

    ops: tuple[Convert | Normalize | Reorder, ...]

    @property
    def scales_only(self) -> bool:
        """A product for each value, and no sum."""
        return not any(isinstance(op, Normalize) for op in self.ops)

    def output(self, spec: ImageSpec) -> ImageSpec:
        for op in self.ops:
            spec = op.output(spec)
        return spec


Pointwise = Convert | Normalize | Reorder
BoundOp = Cut | Resample | Convert | Normalize | Reorder | UserFunction | Fused


@dataclass(frozen=True, slots=True)
class Step:
    """A bound operation, and the names of the graph's operations that it does the work of."""

    op: BoundOp
    origins: tuple[str, ...]


Steps = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps one after the other that nothing else looks into.

    Attributes:
        name: of the last operation: what comes out is known by it.
        inputs: the chains that feed it.
        head: what makes an image of the bytes, or of several chains' images; None where the one chain
            before it hands its image over. Never moved.
        origin: the name of the head's operation; "" without a head.
        entry: the image that the steps begin with.
    """

    name: str
    inputs: tuple[str, ...]
    head: Decode | UserFunction | None
    origin: str
    entry: ImageSpec
    steps: Steps


def walk(steps: Sequence[Step], entry: ImageSpec) -> Iterator[tuple[Step, ImageSpec]]:
    """Every step with the spec that reaches it."""
    for step in steps:
        yield step, entry
        entry = step.op.output(entry)


def last_spec(steps: Sequence[Step], entry: ImageSpec) -> ImageSpec:
    """What comes out of the last step."""
    for step in steps:
        entry = step.op.output(entry)
    return entry
