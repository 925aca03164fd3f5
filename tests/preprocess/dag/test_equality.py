"""Whatever plan is chosen, its images are those of the graph as written, within the tolerance it states."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beyond_serve.preprocess.dag.costs import CostModel, OperationCount
from beyond_serve.preprocess.dag.graph import Graph
from beyond_serve.preprocess.dag.ops import Convert, Crop, Decode, Normalize, Reorder, Resize
from beyond_serve.preprocess.dag.optimise import optimise
from beyond_serve.preprocess.dag.pipeline import Pipeline, execute
from beyond_serve.preprocess.dag.reference import run_naive
from beyond_serve.preprocess.dag.spec import SourceSpec
from tests.preprocess.dag.graphs import SOURCES, ArbitraryCosts, chains, forks, picture
from tests.preprocess.images import encode, exif, photograph

QUICK = settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=5_000, deadline=None, suppress_health_check=list(HealthCheck))


def check(graph: Graph, source: SourceSpec, costs: CostModel, *, prune: bool = True) -> None:
    data = picture(source)
    plan = optimise(graph, source, costs, prune=prune)
    wanted, found = run_naive(graph, data), execute(plan, data)
    assert found.keys() == wanted.keys()
    for name, pixels in found.items():
        assert (pixels.dtype, pixels.shape) == (wanted[name].dtype, wanted[name].shape)
        bound = plan.tolerance[name]
        assert bound < inf, "every function here declares its gain"
        apart = np.abs(pixels.astype(np.float64) - wanted[name]).max()
        assert apart <= bound, f"{name}: {apart} apart, {bound} promised"


@QUICK
@given(st.data(), SOURCES)
def test_chains_by_smols_costs(data: st.DataObject, source: SourceSpec) -> None:
    check(data.draw(chains(source)), source, OperationCount())


@QUICK
@given(st.data(), SOURCES, st.integers(0, 1000))
def test_chains_by_any_costs(data: st.DataObject, source: SourceSpec, seed: int) -> None:
    check(data.draw(chains(source)), source, ArbitraryCosts(seed), prune=False)


@QUICK
@given(st.data(), SOURCES, st.integers(0, 1000))
def test_branches(data: st.DataObject, source: SourceSpec, seed: int) -> None:
    check(data.draw(forks(source)), source, ArbitraryCosts(seed), prune=False)


@pytest.mark.long
@LONG
@given(st.data(), SOURCES, st.integers(0, 1000), st.booleans())
def test_long(data: st.DataObject, source: SourceSpec, seed: int, prune: bool) -> None:
    graph = data.draw(chains(source) | forks(source))
    check(graph, source, ArbitraryCosts(seed), prune=prune)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_jpegs_are_turned_upright_first(orientation: int) -> None:
    data = encode(photograph(150, 100), "JPEG", quality=90, exif=exif(orientation))
    ops = [Decode(), Convert(), Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), Resize.shortest(64)]
    graph = Graph.chain([*ops, Crop((56, 56)), Reorder("CHW", "BGR")])
    pipeline = Pipeline(graph, OperationCount())
    found, wanted = pipeline.run(data)["output"], run_naive(graph, data)["output"]
    size = (150, 100) if orientation < 5 else (100, 150)
    assert np.abs(found - wanted).max() <= pipeline.plan(SourceSpec(*size)).tolerance["output"] < 0.025


def test_a_plan_is_for_one_size() -> None:
    plan = optimise(Graph.chain([Decode()]), SourceSpec(20, 10), OperationCount())
    with pytest.raises(ValueError, match="the image is"):
        execute(plan, picture(SourceSpec(10, 20)))
