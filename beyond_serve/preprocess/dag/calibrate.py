"""Times every primitive on this machine, on seeded images of several sizes, and fits a rate to each."""

from __future__ import annotations

import platform
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from beyond_serve.preprocess.dag.bind import simplified
from beyond_serve.preprocess.dag.bound import BoundOp, Cut, Fused, Resample
from beyond_serve.preprocess.dag.costs import MeasuredCosts, Rate, work
from beyond_serve.preprocess.dag.graph import Graph
from beyond_serve.preprocess.dag.kernels import call, run
from beyond_serve.preprocess.dag.ops import Convert, Normalize, Reorder, UserFunction
from beyond_serve.preprocess.dag.spec import ImageSpec, Layout, SourceSpec
from beyond_serve.preprocess.plan import Interpolation

SIZES = ((32, 24), (160, 120), (640, 480))
"""(width, height) of the images that primitives are timed on: a call's cost shows in the smallest,
memory's in the largest."""

_LAYOUTS: tuple[Layout, Layout] = ("HWC", "CHW")
_NORMALIZE = Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def calibrate(
    graph: Graph | None = None,
    source: SourceSpec | None = None,
    *,
    seed: int = 0,
    repeats: int = 7,
    sizes: Sequence[tuple[int, int]] = SIZES,
) -> MeasuredCosts:
    """Measure, some seconds with the defaults. Single-threaded; medians of `repeats` after one warm-up.

    graph, source: to time the graph's user functions too, on random pixels of the specs that reach them.
    """
    rng = np.random.default_rng(seed)
    samples: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    for op, given in _primitives(sizes):
        pixels = _random(rng, given)
        done = work(op, given)
        samples[done.kind].append((done.elements, done.products, _time(op, [pixels], [given], repeats)))
    rates = {kind: fit(rows) for kind, rows in samples.items()}
    if graph is not None and source is not None:
        rates.update(_functions(graph, source, rng, repeats))
    return MeasuredCosts(rates, f"{platform.system()} {platform.machine()}", seed, repeats)


def fit(rows: Sequence[tuple[int, int, float]]) -> Rate:
    """Least squares of relative errors, nothing negative: (elements, products, ns) to a rate. Pure."""
    table = np.array([(1.0, elements, products) for elements, products, _ in rows])
    times = np.array([ns for _, _, ns in rows])
    columns = [column for column in range(3) if table[:, column].any()]
    while True:
        weighted = table[:, columns] / times[:, None]
        found, *_ = np.linalg.lstsq(weighted, np.ones(len(times)), rcond=None)
        if len(columns) == 1 or found.min() >= 0:
            break
        columns.pop(int(found.argmin()))
    rate = np.zeros(3)
    rate[columns] = found.clip(0)
    return Rate(*(float(value) for value in rate))


def _primitives(sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[BoundOp, ImageSpec]]:
    """Every kind of work at every size; resizes shrink and enlarge, so that values and products differ."""
    for width, height in sizes:
        for layout in _LAYOUTS:
            other: Layout = "CHW" if layout == "HWC" else "HWC"
            raw = ImageSpec(height, width, layout=layout)
            floats = replace(raw, dtype="float32")
            yield Cut(width // 4, height // 4, width // 2, height // 2), raw
            yield Convert(), raw
            yield _NORMALIZE, floats
            yield from _resizes(replace(raw, channels=1, colour="other"))
            for spec in (raw, floats):
                yield Reorder(layout=other), spec
                yield Reorder(colour="BGR"), spec
                first: tuple[Convert, ...] = (Convert(),) if spec is raw else ()
                yield Fused((*first, _NORMALIZE)), spec
                yield Fused((*first, _NORMALIZE, Reorder(layout=other))), spec
                yield from _resizes(spec)
            yield Fused((Convert(), Reorder(layout=other))), raw
            yield Fused((Convert(), Reorder(colour="BGR"))), raw


def _resizes(spec: ImageSpec) -> Iterator[tuple[BoundOp, ImageSpec]]:
    full = spec.width, spec.height
    for numerator, denominator in ((1, 2), (1, 5), (3, 2)):
        wide, high = spec.width * numerator // denominator, spec.height * numerator // denominator
        for interpolation in (Interpolation.BILINEAR, Interpolation.LANCZOS):
            yield Resample(full, (wide, high), (0, 0), Cut(0, 0, wide, high), interpolation, True), spec
        for interpolation in (Interpolation.NEAREST, Interpolation.BILINEAR, Interpolation.BICUBIC):
            yield Resample(full, (wide, high), (0, 0), Cut(0, 0, wide, high), interpolation, False), spec


def _functions(
    graph: Graph, source: SourceSpec, rng: np.random.Generator, repeats: int
) -> Iterator[tuple[str, Rate]]:
    needed = simplified(graph).graph
    specs = needed.specs(source)
    for node in needed.nodes:
        if isinstance(node.op, UserFunction):
            given = [specs[name] for name in node.inputs]
            ns = _time(node.op, [_random(rng, spec) for spec in given], given, repeats)
            elements = max(given[0].elements, specs[node.name].elements)
            yield f"function {node.op.name}", Rate(0.0, ns / elements, 0.0)


def _time(
    op: BoundOp, pixels: Sequence[NDArray[np.generic]], given: Sequence[ImageSpec], repeats: int
) -> float:
    def once() -> float:
        start = time.perf_counter_ns()
        if isinstance(op, UserFunction):
            call(op, pixels, given)
        else:
            run(op, pixels[0], given[0])
        return float(time.perf_counter_ns() - start)

    once()
    return median(once() for _ in range(repeats))


def _random(rng: np.random.Generator, spec: ImageSpec) -> NDArray[np.generic]:
    values = rng.integers(0, 256, spec.shape, np.uint8)
    return values if spec.dtype == "uint8" else values.astype(np.float32) / np.float32(255)
