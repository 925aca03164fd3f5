"""A graph run as it is written, operation by operation, by NumPy and Pillow: what every plan must equal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.preprocess.dag.decoding import decode_by_pillow, source_spec
from beyond_serve.preprocess.dag.graph import Graph
from beyond_serve.preprocess.dag.kernels import call
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
from beyond_serve.preprocess.dag.resampling import resize_whole
from beyond_serve.preprocess.dag.spec import ImageSpec
from beyond_serve.preprocess.header import read_header

Array = NDArray[Any]


def run_naive(graph: Graph, data: bytes) -> dict[str, Array]:
    """The image of every output, by its name.

    Raises:
        ConfigError: the graph cannot be applied to this image.
        ImageDecodeError, UnsupportedImageError, PayloadTooLargeError: as the decoders.
    """
    header = read_header(data)
    specs = graph.specs(source_spec(header))
    made: dict[str, Array] = {}
    for node in graph.nodes:
        given = [specs[name] for name in node.inputs]
        if isinstance(node.op, Decode):
            made[node.name] = decode_by_pillow(data, header)
        elif isinstance(node.op, UserFunction):
            made[node.name] = call(node.op, [made[name] for name in node.inputs], given)
        else:
            made[node.name] = _apply(node.op, made[node.inputs[0]], given[0], specs[node.name])
    return {name: made[name] for name in graph.outputs}


def _apply(op: Op, pixels: Array, before: ImageSpec, after: ImageSpec) -> Array:
    channels_last = before.layout == "HWC"
    match op:
        case Resize():
            size = after.width, after.height
            return resize_whole(pixels, before.layout, size, op.interpolation, antialias=op.antialias)
        case Crop():
            left, top = op.start(before)
            rows, columns = slice(top, top + after.height), slice(left, left + after.width)
            return pixels[rows, columns] if channels_last else pixels[:, rows, columns]
        case Convert():
            return pixels.astype(np.float32) * np.float32(op.scale)
        case Normalize():
            shape = (1, 1, -1) if channels_last else (-1, 1, 1)
            mean, std = (np.asarray(numbers, np.float32).reshape(shape) for numbers in (op.mean, op.std))
            normalized: Array = (pixels - mean) / std
            return normalized
        case Reorder():
            if before.colour != after.colour:
                pixels = np.flip(pixels, axis=2 if channels_last else 0)
            if before.layout != after.layout:
                pixels = pixels.transpose((2, 0, 1) if channels_last else (1, 2, 0))
            return np.ascontiguousarray(pixels)
        case _:
            raise AssertionError(f"{op} is run by the caller")
