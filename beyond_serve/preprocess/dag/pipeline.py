"""Running graphs: one image at a time, by the plan that is best for its size."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from numpy.typing import NDArray

from beyond_serve.errors import PayloadTooLargeError
from beyond_serve.preprocess.dag.bound import last_spec, walk
from beyond_serve.preprocess.dag.costs import CostModel
from beyond_serve.preprocess.dag.decoding import decode, source_spec
from beyond_serve.preprocess.dag.graph import Graph
from beyond_serve.preprocess.dag.kernels import call, run
from beyond_serve.preprocess.dag.ops import UserFunction
from beyond_serve.preprocess.dag.optimise import OptimisedGraph, optimise
from beyond_serve.preprocess.dag.spec import ImageSpec, SourceSpec
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.limits import PixelLimits

PLANS_KEPT = 256
"""Sizes whose plans are remembered. Invented; collections have a few dozen common sizes."""


class Pipeline:
    """A graph, optimised for each size of image that comes. Safe on many threads.

    Args:
        graph: what to do.
        costs: what to choose plans by; `calibrate()` measures them.
        limits: on the pixels of an image, and of whatever a plan makes of it; checked before any is made.
    """

    def __init__(self, graph: Graph, costs: CostModel, limits: PixelLimits | None = None) -> None:
        self._limits = limits or PixelLimits()
        self._plan = lru_cache(PLANS_KEPT)(lambda source: optimise(graph, source, costs))

    def plan(self, source: SourceSpec) -> OptimisedGraph:
        """Raises ConfigError where the graph cannot be applied to images of this size."""
        return self._plan(source)

    def run(self, data: bytes) -> dict[str, NDArray[Any]]:
        """The image of every output, by its name; may be views of memory that is theirs.

        Raises:
            ConfigError: the graph cannot be applied to an image of this size.
            PayloadTooLargeError: the image, or what would be made of it, is over the limits.
            ImageDecodeError, UnsupportedImageError: as the decoders.
        """
        source = source_spec(read_header(data))
        _check("the image's header says", source.width, source.height, self._limits.max_pixels)
        plan = self.plan(source)
        for chosen in plan.plans:
            for step, given in walk(chosen.steps, chosen.chain.entry):
                made = step.op.output(given)
                what = f"'{step.origins[0]}' would make"
                _check(what, made.width, made.height, self._limits.max_resized_pixels)
        return execute(plan, data)


def _check(what: str, width: int, height: int, most: int) -> None:
    if width * height > most:
        raise PayloadTooLargeError(
            f"{what} {width}x{height} pixels; the limit is {most:,}", "send a smaller image"
        )


def execute(plan: OptimisedGraph, data: bytes) -> dict[str, NDArray[Any]]:
    """Run a plan on an image of the size that it was made for; as Pipeline.run."""
    header = read_header(data)
    if source_spec(header) != plan.source:
        raise ValueError(f"the plan is for {plan.source}, the image is {source_spec(header)}")
    made: dict[str, NDArray[Any]] = {}
    specs: dict[str, ImageSpec] = {}
    for chosen in plan.plans:
        chain = chosen.chain
        given = [made[name] for name in chain.inputs]
        if isinstance(chain.head, UserFunction):
            pixels = call(chain.head, given, [specs[name] for name in chain.inputs])
        else:
            pixels = given[0] if given else decode(data, header)
        for step, spec in walk(chosen.steps, chain.entry):
            pixels = run(step.op, pixels, spec)
        made[chain.name], specs[chain.name] = pixels, last_spec(chosen.steps, chain.entry)
    return {name: made[name] for name in plan.written.outputs}
