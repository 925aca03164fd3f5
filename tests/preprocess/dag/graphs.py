"""Random images, random graphs that can be applied to them, and costs that make any plan the cheapest."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
from hypothesis import strategies as st

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.dag.bound import BoundOp
from beyond_serve.preprocess.dag.graph import Graph, Node
from beyond_serve.preprocess.dag.ops import (
    POINT_SAMPLED,
    Convert,
    Crop,
    Decode,
    Normalize,
    Op,
    Reorder,
    Resize,
    UserFunction,
)
from beyond_serve.preprocess.dag.spec import ImageSpec, SourceSpec, SpecPattern
from beyond_serve.preprocess.plan import CropRounding, Interpolation
from beyond_serve.preprocess.plan import Resize as Rule
from tests.preprocess.images import encode

EDGES = st.integers(2, 64)
NUMBERS = st.floats(0.125, 1.0, width=32)


def doubled(pixels: np.ndarray) -> np.ndarray:
    return pixels * np.float32(2)


def inverted(pixels: np.ndarray) -> np.ndarray:
    return 255 - pixels


def blurred(pixels: np.ndarray) -> np.ndarray:
    """Mixes neighbours: a crop must not move across it."""
    return (pixels + np.roll(pixels, 1, axis=0)) / 2


def averaged(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one + other) / np.float32(2)


FLOATS, LEVELS = SpecPattern(dtype="float32"), SpecPattern(dtype="uint8")
FUNCTIONS = (
    UserFunction("doubled", doubled, (FLOATS,), pointwise=True, gain=2.0, largest=1e3),
    UserFunction("inverted", inverted, (LEVELS,), pointwise=True, gain=1.0),
    UserFunction("blurred", blurred, (FLOATS,), gain=1.0, largest=1e3),
)
AVERAGED = UserFunction("averaged", averaged, (FLOATS, FLOATS), gain=1.0, largest=1e3)


@dataclass(frozen=True)
class ArbitraryCosts:
    """Every step at every place has its own cost, so that any plan may be the cheapest."""

    seed: int
    unit: str = "dice"

    def cost(self, op: BoundOp, given: ImageSpec) -> float:
        return Random(f"{self.seed} {op!r} {given}").random() + 0.01


@st.composite
def resizes(draw: st.DrawFn) -> Resize:
    antialias = draw(st.booleans())
    kernels = list(Interpolation) if antialias else list(POINT_SAMPLED)
    rule = draw(st.sampled_from([Rule.SHORTEST_EDGE, Rule.EXACT, Rule.COVER]))
    return Resize((draw(EDGES), draw(EDGES)), rule, draw(st.sampled_from(kernels)), antialias)


@st.composite
def crops(draw: st.DrawFn) -> Crop:
    corner = draw(st.none() | st.tuples(st.integers(0, 10), st.integers(0, 10)))
    return Crop((draw(EDGES), draw(EDGES)), corner, draw(st.sampled_from(list(CropRounding))))


OPS: st.SearchStrategy[Op] = st.one_of(
    resizes(),
    crops(),
    st.builds(Convert, st.sampled_from([1 / 255, 1.0, 0.5])),
    st.builds(
        Normalize, st.tuples(NUMBERS, NUMBERS, NUMBERS), st.tuples(NUMBERS, NUMBERS, NUMBERS)
    ),
    st.builds(
        Reorder, st.sampled_from([None, "HWC", "CHW"]), st.sampled_from([None, "RGB", "BGR"])
    ),
    st.sampled_from(FUNCTIONS),
)  # fmt: skip

SOURCES = st.builds(SourceSpec, EDGES, EDGES)


@st.composite
def chains(draw: st.DrawFn, source: SourceSpec) -> Graph:
    first = Decode()
    ops = _tried(draw, first.output(source), 8)
    return Graph.chain([first, *ops])


def _tried(draw: st.DrawFn, spec: ImageSpec, most: int) -> list[Op]:
    ops: list[Op] = []
    for op in draw(st.lists(OPS, min_size=most // 2, max_size=most)):
        try:
            made = op.output(spec)  # type: ignore[arg-type]
        except ConfigError:
            continue
        if max(made.width, made.height) <= 200:
            ops.append(op)
            spec = made
    return ops


@st.composite
def forks(draw: st.DrawFn, source: SourceSpec) -> Graph:
    """One trunk, two branches, and sometimes a join of them."""
    nodes = [Node("decode", Decode())]
    spec = Decode().output(source)
    trunk, spec = _grow(draw, nodes, "decode", spec, "trunk", 4)
    left, left_spec = _grow(draw, nodes, trunk, spec, "left", 4)
    right, right_spec = _grow(draw, nodes, trunk, spec, "right", 4)
    joinable = left_spec == right_spec and left_spec.dtype == "float32"
    if joinable and left != right and draw(st.booleans()):
        nodes.append(Node("join", AVERAGED, (left, right)))
        return Graph(tuple(nodes), ("join",))
    return Graph(tuple(nodes), tuple(dict.fromkeys((left, right))))


def _grow(
    draw: st.DrawFn, nodes: list[Node], name: str, spec: ImageSpec, prefix: str, most: int
) -> tuple[str, ImageSpec]:
    for number, op in enumerate(_tried(draw, spec, most)):
        nodes.append(Node(f"{prefix}{number}", op, (name,)))
        name, spec = nodes[-1].name, op.output(spec)  # type: ignore[arg-type]
    return name, spec


def picture(source: SourceSpec, seed: int = 0) -> bytes:
    """A PNG of noise: the hardest for every filter."""
    pixels = np.random.default_rng(seed).integers(0, 256, (source.height, source.width, 3), np.uint8)
    return encode(pixels, "PNG")
