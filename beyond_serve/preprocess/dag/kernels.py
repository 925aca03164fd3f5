"""Running bound steps on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.dag.bound import BoundOp, Cut, Fused, Resample
from beyond_serve.preprocess.dag.ops import Convert, Normalize, Reorder, UserFunction
from beyond_serve.preprocess.dag.resampling import resample
from beyond_serve.preprocess.dag.spec import ImageSpec, Layout

Array = NDArray[Any]


def run(op: BoundOp, pixels: Array, spec: ImageSpec) -> Array:  # noqa: PLR0911 - one for each kind
    """One step on an array of `spec`; the array is not written to, and the result may be a view of it."""
    match op:
        case Cut():
            return cut(pixels, spec.layout, op)
        case Resample():
            return resample(pixels, spec.layout, op)
        case Convert():
            return pixels * np.float32(op.scale)
        case Normalize():
            return normalize(pixels, spec.layout, op)
        case Reorder():
            return reorder(pixels, spec, op)
        case Fused():
            return one_pass(pixels, spec, op)
        case UserFunction():
            return call(op, [pixels], [spec])


def cut(pixels: Array, layout: Layout, box: Cut) -> Array:
    rows = slice(box.top, box.top + box.height)
    columns = slice(box.left, box.left + box.width)
    return pixels[rows, columns] if layout == "HWC" else pixels[:, rows, columns]


def normalize(pixels: Array, layout: Layout, op: Normalize) -> Array:
    mean, std = (np.asarray(numbers, np.float32) for numbers in (op.mean, op.std))
    if layout == "CHW":
        mean, std = mean[:, None, None], std[:, None, None]
    made: Array = (pixels - mean) / std
    return made


def reorder(pixels: Array, spec: ImageSpec, op: Reorder) -> Array:
    """Contiguous: what comes after reads it in order."""
    return np.ascontiguousarray(_reordered(pixels, spec, op.output(spec)))


def one_pass(pixels: Array, spec: ImageSpec, op: Fused) -> Array:
    """x * gain + offset by channel, written straight to its place in the layout that is wanted."""
    made = op.output(spec)
    gain, offset = affine(op, spec)
    out = np.empty(made.shape, np.float32)
    source = _reordered(pixels, spec, made)
    if made.layout == "CHW":
        np.multiply(source, gain[:, None, None], out=out)
        if not op.scales_only:
            np.add(out, offset[:, None, None], out=out)
        return out
    # NumPy's loops run along the last axis: over whole rows, and not over three channels at a time.
    rows = out.reshape(made.height, -1)
    np.multiply(source.reshape(made.height, -1), np.tile(gain, made.width), out=rows)
    if not op.scales_only:
        np.add(rows, np.tile(offset, made.width), out=rows)
    return out


@lru_cache(maxsize=256)
def affine(op: Fused, spec: ImageSpec) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(gain, offset) by channel of what comes out: float32 [channels] each; computed in double."""
    gain, offset = np.ones(spec.channels), np.zeros(spec.channels)
    for part in op.ops:
        match part:
            case Convert():
                gain, offset = gain * part.scale, offset * part.scale
            case Normalize():
                mean, std = np.asarray(part.mean), np.asarray(part.std)
                gain, offset = gain / std, (offset - mean) / std
            case Reorder():
                if part.output(spec).colour != spec.colour:
                    gain, offset = gain[::-1], offset[::-1]
        spec = part.output(spec)
    return gain.astype(np.float32), offset.astype(np.float32)


def call(op: UserFunction, images: Sequence[Array], specs: Sequence[ImageSpec]) -> Array:
    """A user's function on read-only arrays.

    Raises:
        ConfigError: it returned something else than it declares.
    """
    shown = []
    for image in images:
        view = image.view()
        view.flags.writeable = False
        shown.append(view)
    made = op.function(*shown)
    wanted = op.output(*specs)
    if not isinstance(made, np.ndarray) or made.shape != wanted.shape or made.dtype != wanted.dtype:
        found = f"{made.dtype}{made.shape}" if isinstance(made, np.ndarray) else type(made).__name__
        raise ConfigError(
            f"function '{op.name}' returned {found}, it declares {wanted.dtype}{wanted.shape}",
            "correct its 'gives'",
        )
    return made


def _reordered(pixels: Array, before: ImageSpec, after: ImageSpec) -> Array:
    """A view with the channels where `after` has them."""
    view = pixels if before.layout == "CHW" else pixels.transpose(2, 0, 1)
    if before.colour != after.colour:
        view = view[::-1]
    return view if after.layout == "CHW" else view.transpose(1, 2, 0)
