"""`beyond-bench dag`: a graph as written beside its optimised plan, measured costs beside counted ones."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from beyond_serve.bench.images import FULL_HD, MEDIUM, ImageSpec, paper_image
from beyond_serve.bench.report import Result
from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.dag import kernels
from beyond_serve.preprocess.dag.bound import walk
from beyond_serve.preprocess.dag.calibrate import calibrate
from beyond_serve.preprocess.dag.costs import CostModel, MeasuredCosts, OperationCount
from beyond_serve.preprocess.dag.decoding import decode
from beyond_serve.preprocess.dag.explain import explain
from beyond_serve.preprocess.dag.graph import Graph
from beyond_serve.preprocess.dag.ops import Convert, Crop, Decode, Normalize, Op, Reorder, Resize
from beyond_serve.preprocess.dag.optimise import OptimisedGraph, optimise
from beyond_serve.preprocess.dag.pipeline import execute
from beyond_serve.preprocess.dag.reference import run_naive
from beyond_serve.preprocess.dag.spec import SourceSpec
from beyond_serve.preprocess.dag.to_plan import to_plan
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.plan import IMAGENET_MEAN, IMAGENET_STD, Interpolation

GRAPH = Graph.chain(
    [
        Decode(),
        Convert(),
        Normalize(IMAGENET_MEAN, IMAGENET_STD),
        Resize.shortest(256),
        Crop((224, 224)),
        Reorder("CHW"),
    ]
)
"""Every value change before every size change: the worst order that is legal."""

SEED = 0
_SOURCES = (SourceSpec(160, 120), SourceSpec(500, 375), SourceSpec(1920, 1080))
_KERNELS = (Interpolation.BILINEAR, Interpolation.NEAREST, Interpolation.BICUBIC)


def run(rounds: int, chains: int, progress: Progress) -> Result:
    """Time both on two images, `rounds` times; compare the models over `chains` chains in random order."""
    columns = ("image", "decode ms", "written ms", "optimised ms", "host part ms", "most apart", "tolerance")
    result = Result("dag", columns)
    task = progress.add_task("dag", total=4)
    costs = calibrate(seed=SEED)
    progress.advance(task)
    for spec in (MEDIUM, FULL_HD):
        plan = optimise(GRAPH, SourceSpec(spec.width, spec.height), costs)
        result.rows.append(_row(spec, costs, rounds))
        predicted = f"predicted without decoding: {plan.before / 1e6:.2f} and {plan.after / 1e6:.2f} ms"
        result.notes += [f"{spec.name}, {predicted}", *(f"  {line}" for line in explain(plan))]
        progress.advance(task)
    result.notes.append("host part: the same plan as the server runs it, uint8, normalised by the engine")
    result.notes += compared(costs, chains, rounds)
    return result


def _row(spec: ImageSpec, costs: CostModel, rounds: int) -> tuple[object, ...]:
    data = paper_image(spec)
    header = read_header(data)
    plan = optimise(GRAPH, SourceSpec(spec.width, spec.height), costs)
    host = HostPreprocessor(to_plan(GRAPH))
    row = np.empty(host.plan.output_shape, np.uint8)
    times = interleaved(
        rounds,
        lambda: decode(data, header),
        lambda: run_naive(GRAPH, data),
        lambda: execute(plan, data),
        lambda: host.run(data, header, row),
    )
    apart = np.abs(run_naive(GRAPH, data)["output"] - execute(plan, data)["output"]).max()
    return (spec.name, *times, float(apart), plan.tolerance["output"])


def interleaved(rounds: int, *works: Callable[[], object]) -> list[float]:
    """Median milliseconds of each, all run in every round."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, times in zip(works, taken, strict=True):
            start = time.perf_counter_ns()
            work()
            times.append((time.perf_counter_ns() - start) / 1e6)
    return [median(times) for times in taken]


def compared(costs: MeasuredCosts, chains: int, rounds: int) -> list[str]:
    """What choosing by counted operations, and cutting by the rules first, costs in time that is taken."""
    rng, pixels = random.Random(SEED), np.random.default_rng(SEED)
    counted: list[float] = []
    cut: list[float] = []
    while len(counted) < chains:
        graph, source = random_chain(rng), rng.choice(_SOURCES)
        try:
            best = optimise(graph, source, costs, prune=False)
        except ConfigError:
            continue  # an order that is not legal
        others = optimise(graph, source, OperationCount(), prune=False), optimise(graph, source, costs)
        image = pixels.integers(0, 256, (source.height, source.width, 3), np.uint8)
        ours, *theirs = interleaved(rounds, *(partial(_run, one, image) for one in (best, *others)))
        counted.append(theirs[0] / ours)
        cut.append(theirs[1] / ours)
    return [
        f"{what}, beside chosen by measured costs from all plans, in {chains} random chains: "
        f"median {median(ratios):.2f} times the time, {min(ratios):.2f} to {max(ratios):.2f}"
        for what, ratios in (("chosen by counted operations", counted), ("cut by the rules first", cut))
    ]


def _run(plan: OptimisedGraph, image: NDArray[np.uint8]) -> None:
    """The steps of a graph without branches, on a decoded image."""
    (only,) = plan.plans
    pixels: NDArray[Any] = image
    for step, given in walk(only.steps, only.chain.entry):
        pixels = kernels.run(step.op, pixels, given)


def random_chain(rng: random.Random) -> Graph:
    """The usual operations in any order, legal or not."""
    edge = rng.choice((32, 64, 224, 512))
    ops: list[Op] = [
        Convert(),
        Normalize((0.5,) * 3, (0.25,) * 3),
        Reorder("CHW"),
        Resize((edge, edge), interpolation=rng.choice(_KERNELS)),
    ]
    if rng.random() < 0.5:
        ops.append(Crop((28, 28)))
    rng.shuffle(ops)
    return Graph.chain([Decode(), *ops])
