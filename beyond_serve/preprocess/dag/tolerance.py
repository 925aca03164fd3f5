"""By how much an optimised plan's images may differ from the naive ones, and why.

Where nothing but crops, nearest picks and reorderings moved, not at all. A resize rounds uint8 twice, once
for each of its passes, by half a level each time; so it differs by at most

* 1 level where it runs on uint8 instead of float32,
* 2 levels where it runs on uint8 both times, from a region instead of the image (Pillow holds a box's place
  in single precision, and a value that falls on the other side of a half rounds the other way in each pass);
  3 with a filter that overshoots, which amplifies what the first pass did,
* single precision's rounding where it runs on float32 both times.

Each bound is carried through what follows: times scale / std, times a filter's own gain, times a function's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import NamedTuple

from beyond_serve.preprocess.dag.bind import bound
from beyond_serve.preprocess.dag.bound import OVERSHOOTING, Resample, Step
from beyond_serve.preprocess.dag.graph import Graph, Node
from beyond_serve.preprocess.dag.ops import Convert, Decode, Normalize, UserFunction
from beyond_serve.preprocess.dag.spec import ImageSpec, SourceSpec
from beyond_serve.preprocess.plan import Interpolation

ROUNDING = 1e-6
"""Of a few operations in single precision, relative to the largest magnitude in them."""

_POSITION = 2.0**-22
"""Of a box's two edges in single precision, relative to the image's edge."""

_AMPLIFIED = 2.5
"""Sum of a Lanczos filter's absolute weights, over both passes: 1.55 squared."""

Placed = Mapping[str, Sequence[tuple[Step, ImageSpec]]]
"""The steps that do an operation's work, with what reaches them, by the operation's name."""


class Bound(NamedTuple):
    """error: largest difference; level: what one level of uint8 has become; largest: magnitude of a value."""

    error: float
    level: float
    largest: float


def tolerances(graph: Graph, source: SourceSpec, placed: Placed) -> dict[str, float]:
    """For each output, the largest difference of a value, in that output's own units. Infinite where it
    hangs on a user's function that declares no gain and whose input is not bit-equal."""
    specs = graph.specs(source)
    found: dict[str, Bound] = {}
    for node in graph.nodes:
        given = [found[name] for name in node.inputs]
        found[node.name] = _after(node, given, [specs[name] for name in node.inputs], specs, placed)
    return {name: found[name].error for name in graph.outputs}


def _after(
    node: Node,
    given: Sequence[Bound],
    inputs: Sequence[ImageSpec],
    specs: Mapping[str, ImageSpec],
    placed: Placed,
) -> Bound:
    match node.op:
        case Decode():
            return Bound(0.0, 1.0, 255.0)
        case UserFunction():
            return _after_function(node.op, max(one.error for one in given), specs[node.name])
    (before,), (spec,) = given, inputs
    naive = bound(node.op, spec)
    if isinstance(naive, Resample):
        return _after_resize(node.name, naive, before, spec, placed)
    # A branch may run it as written and another one not.
    altered = not all(step.op == naive and reached == spec for step, reached in placed.get(node.name, ()))
    match node.op:
        case Convert(scale):
            error, level, largest = (value * scale for value in before)
        case Normalize(mean, std):
            error, level = before.error / min(std), before.level / min(std)
            largest = (before.largest + max(abs(value) for value in mean)) / min(std)
        case _:
            return before
    return Bound(error + altered * ROUNDING * largest, level, largest)


def _after_function(op: UserFunction, error: float, made: ImageSpec) -> Bound:
    if error and op.gain is None:
        error = inf
    elif error and op.gain is not None:
        error = error * op.gain + (made.dtype == "uint8")
    return Bound(error, 1.0, op.largest)


def _after_resize(name: str, naive: Resample, before: Bound, spec: ImageSpec, placed: Placed) -> Bound:
    if naive.interpolation is Interpolation.NEAREST:
        return before
    overshoots = naive.interpolation in OVERSHOOTING
    gain = _AMPLIFIED if overshoots else 1.0
    after = Bound(before.error * gain, before.level, before.largest * gain)
    chosen = next(
        (
            one
            for one in placed.get(name, ())
            if isinstance(one[0].op, Resample) and one[0].origins[0] == name
        ),
        None,
    )
    if chosen is None:
        # It resizes to the size that is there: left out, and a copy when it is not.
        return before
    step, reached = chosen
    if spec.dtype != reached.dtype:
        own = 1.0 * after.level
    elif spec.dtype == "uint8":
        moved = step.op != naive or before.error > 0
        own = (3.0 if overshoots else 2.0) * moved
    else:
        moved = step.op != naive
        shifted = _POSITION * max(naive.full) * 2 if moved else 0.0
        own = (ROUNDING + shifted) * after.largest * (moved or reached != spec or before.error > 0)
    return after._replace(error=after.error + own)
