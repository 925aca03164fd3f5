"""A graph as the server's own plan: host part to uint8, and a normalisation for the engine's graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.dag.bound import OVERSHOOTING
from beyond_serve.preprocess.dag.graph import Graph, label
from beyond_serve.preprocess.dag.ops import (
    Convert,
    Crop,
    Decode,
    Normalize,
    Op,
    Reorder,
    Resize,
    UserFunction,
)
from beyond_serve.preprocess.dag.spec import Colour
from beyond_serve.preprocess.plan import Normalization, PreprocessPlan
from beyond_serve.preprocess.plan import Resize as ResizeRule

_HINT = "run this graph by dag.pipeline.Pipeline instead"


def to_plan(graph: Graph) -> PreprocessPlan:
    """The same preprocessing as decode, resize, centre crop on uint8, then (x * scale - mean) / std.

    The split between host and engine is the optimiser's: everything that only changes values goes behind
    what changes sizes, and that is the engine's. The layout is the engine's anyway. Unlike a graph, a plan
    pads images that are smaller than the crop. Within the tolerance of tolerance.py.

    Raises:
        ConfigError: the graph is more than that; says what.
    """
    ops = _linear(graph)
    geometric = [op for op in ops if isinstance(op, Resize | Crop)]
    resizes = [op for op in geometric if isinstance(op, Resize)]
    crops = [op for op in geometric if isinstance(op, Crop)]
    if len(resizes) > 1 or len(crops) > 1 or (resizes and crops and geometric[0] is not resizes[0]):
        raise _refused(f"{', '.join(label(op) for op in geometric)}; a plan resizes once, then crops once")
    for resize in resizes:
        _check_resize(resize, ops)
    for crop in crops:
        if crop.corner is not None:
            raise _refused("its crop is not at the centre")
    return PreprocessPlan(
        resize=resizes[0].rule if resizes else ResizeRule.NONE,
        size=resizes[0].size if resizes else PreprocessPlan().size,
        crop=crops[0].size if crops else None,
        interpolation=resizes[0].interpolation if resizes else PreprocessPlan().interpolation,
        crop_rounding=crops[0].rounding if crops else PreprocessPlan().crop_rounding,
        normalization=_normalization(ops),
    )


def _linear(graph: Graph) -> list[Op]:
    consumers = graph.consumers()
    if len(graph.outputs) > 1 or any(len(fed) > 1 for fed in consumers.values()):
        raise _refused("it has branches")
    for node in graph.nodes:
        if isinstance(node.op, UserFunction):
            raise _refused(f"'{node.name}' is a function of its own")
    if [name for name, fed in consumers.items() if not fed] != list(graph.outputs):
        raise _refused("it has operations that no output needs")
    assert isinstance(graph.nodes[0].op, Decode)
    return [node.op for node in graph.nodes[1:]]


def _check_resize(resize: Resize, ops: list[Op]) -> None:
    if not resize.antialias:
        raise _refused("its resize is not antialiased")
    floats = any(isinstance(op, Convert) for op in ops[: ops.index(resize)])
    if floats and resize.interpolation in OVERSHOOTING:
        raise _refused(f"it resizes float32 by '{resize.interpolation}', which a uint8 resize would clip")


def _normalization(ops: Iterable[Op]) -> Normalization:
    """All changes of values as one, its numbers in the order of the colours that come out."""
    scale, mean, std = 1.0, np.zeros(3), np.ones(3)
    colour: Colour = "RGB"
    for op in ops:
        match op:
            case Convert():
                scale = op.scale
            case Normalize():
                if len(op.mean) != 3:
                    raise _refused(f"it normalises {len(op.mean)} channels")
                # ((v - mean) / std - m) / s = (v - (mean + m * std)) / (std * s)
                mean, std = mean + np.asarray(op.mean) * std, std * np.asarray(op.std)
            case Reorder() if op.colour and op.colour != colour:
                mean, std, colour = mean[::-1], std[::-1], op.colour
    order: Literal["RGB", "BGR"] = "BGR" if colour == "BGR" else "RGB"
    return Normalization(scale, tuple(mean.tolist()), tuple(std.tolist()), order)


def _refused(what: str) -> ConfigError:
    return ConfigError(f"the graph is no plan of the server: {what}", _HINT)
