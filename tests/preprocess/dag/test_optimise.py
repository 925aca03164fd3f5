"""Which plans are generated, cut and chosen, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from beyond_serve.preprocess.dag.bound import BoundOp, Cut, Fused, Resample
from beyond_serve.preprocess.dag.costs import OperationCount
from beyond_serve.preprocess.dag.explain import explain, steps_in_words
from beyond_serve.preprocess.dag.graph import Graph, Node
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
from beyond_serve.preprocess.dag.optimise import OptimisedGraph, optimise
from beyond_serve.preprocess.dag.spec import SourceSpec
from beyond_serve.preprocess.plan import Interpolation
from tests.preprocess.dag.graphs import SOURCES, chains

SOURCE = SourceSpec(500, 375)
HALF = Normalize((0.5, 0.4, 0.3), (0.5, 0.25, 0.125))


def optimised(*ops: Op, source: SourceSpec = SOURCE) -> OptimisedGraph:
    return optimise(Graph.chain([Decode(), *ops]), source, OperationCount())


def steps(plan: OptimisedGraph, chain: int = 0) -> list[BoundOp]:
    return [step.op for step in plan.plans[chain].steps]


def test_the_usual_chain_written_badly() -> None:
    plan = optimised(Convert(), HALF, Resize.shortest(256), Crop((224, 224)), Reorder("CHW"))
    cut, resize, last = steps(plan)
    assert isinstance(cut, Cut)
    assert isinstance(resize, Resample)
    assert (resize.window.width, resize.window.height) == (224, 224)
    assert last == Fused((Convert(), HALF, Reorder("CHW")))
    assert plan.after < plan.before / 5
    assert plan.tolerance["output"] == pytest.approx(1 / 255 / 0.125, rel=0.01)
    said = "\n".join(explain(plan))
    assert "'3 resize' works on uint8 instead of float32" in said
    assert "'4 crop' before '3 resize', which reads 334x335 pixels instead of 500x375" in said
    assert "fused: '1 convert', '2 normalize' and 'output' are one pass over 150,528 uint8 values" in said
    assert "cost chose among" in said
    assert steps_in_words(plan)[-1].endswith("-> float32 224x224x3 CHW RGB")


def test_the_region_is_the_plans_geometry() -> None:
    resize = steps(optimised(Resize.shortest(256), Crop((224, 224))))[-1]
    assert isinstance(resize, Resample)
    left, top, right, bottom = resize.box
    scale = 375 / 256
    assert (top, bottom) == pytest.approx((16 * scale, 240 * scale))
    assert (left, right) == pytest.approx((58 * 500 / 341, 282 * 500 / 341))


@pytest.mark.parametrize("kernel", [Interpolation.BICUBIC, Interpolation.LANCZOS])
def test_conversion_stays_before_a_filter_that_overshoots(kernel: Interpolation) -> None:
    first, *_ = steps(optimised(Convert(), Resize((64, 64), interpolation=kernel)))
    assert first == Convert()


def test_a_box_filter_has_windows_at_whole_ratios_only() -> None:
    def first(edge: int) -> BoundOp:
        ops = Resize((edge, edge), interpolation=Interpolation.BOX), Crop((20, 20))
        return steps(optimised(*ops, source=SourceSpec(200, 200)))[0]

    assert isinstance(first(50), Cut)
    assert isinstance(first(80), Resample)


def test_nothing_moves_across_a_function() -> None:
    opaque = UserFunction("opaque", np.copy)
    assert steps(optimised(opaque, Crop((50, 50)))) == [opaque, Cut(225, 162, 50, 50)]


def test_a_crop_moves_across_a_pointwise_function_and_a_resize_does_not() -> None:
    gamma = UserFunction("gamma", np.copy, pointwise=True)
    assert steps(optimised(gamma, Crop((50, 50)))) == [Cut(225, 162, 50, 50), gamma]
    assert steps(optimised(gamma, Resize((50, 50))))[0] == gamma
    picked = steps(optimised(gamma, Resize((50, 50), interpolation=Interpolation.NEAREST)))
    assert isinstance(picked[0], Resample)


def test_nothing_is_promised_behind_a_function_without_gain() -> None:
    plan = optimised(Convert(), Resize((50, 50)), UserFunction("f", np.copy))
    assert plan.tolerance["output"] == float("inf")
    assert "no bound" in explain(plan)[-1]


def test_normalisation_changes_its_numbers_with_the_colours() -> None:
    plan = optimised(Convert(), Reorder(colour="BGR"), HALF, Reorder(colour="RGB"))
    (last,) = steps(plan)
    assert last == Fused((Convert(), Normalize(HALF.mean[::-1], HALF.std[::-1])))
    assert "dropped: '2 reorder', it changes nothing here, or is undone later" in explain(plan)


def test_what_does_nothing_is_dropped() -> None:
    plan = optimised(Resize((375, 500)), Crop((375, 500)), Reorder("HWC", "RGB"))
    assert steps(plan) == []
    assert plan.tolerance["output"] == 0
    assert sum(line.startswith("dropped") for line in explain(plan)) == 3


def test_two_crops_are_one() -> None:
    plan = optimised(Crop((300, 300)), Crop((100, 100), (5, 7)))
    assert steps(plan) == [Cut(105, 45, 100, 100)]
    assert "fused: '1 crop' and 'output' are one crop" in explain(plan)


def fork(*branches: tuple[str, Op]) -> Graph:
    nodes = [Node("decode", Decode()), Node("float", Convert(), ("decode",)), Node("norm", HALF, ("float",))]
    nodes += [Node(name, op, ("norm",)) for name, op in branches]
    return Graph(tuple(nodes), tuple(name for name, _ in branches))


def test_normalisation_moves_into_branches_that_shrink() -> None:
    graph = fork(("large", Resize((224, 224))), ("small", Resize((32, 32))))
    plan = optimise(graph, SOURCE, OperationCount())
    assert steps(plan, 0) == []
    for branch in (1, 2):
        resize, last = steps(plan, branch)
        assert isinstance(resize, Resample)
        assert last == Fused((Convert(), HALF))
    assert "moved: 'float' and 'norm' into each branch after 'norm'" in explain(plan)


def test_normalisation_stays_before_branches_that_keep_their_size() -> None:
    plan = optimise(fork(("a", Crop((370, 490))), ("b", Crop((360, 480)))), SOURCE, OperationCount())
    assert plan.sunk == ()


def test_what_is_computed_twice_or_for_nobody() -> None:
    nodes = (
        Node("decode", Decode()),
        Node("one", Resize((64, 64)), ("decode",)),
        Node("two", Resize((64, 64)), ("decode",)),
        Node("nobody", Crop((9, 9)), ("decode",)),
        Node("a", Convert(), ("one",)),
        Node("b", Reorder("CHW"), ("two",)),
    )
    plan = optimise(Graph(nodes, ("a", "b")), SOURCE, OperationCount())
    said = explain(plan)
    assert "dropped: 'two', it is 'one' again" in said
    assert "dropped: 'nobody', no output needs it" in said
    assert len(plan.plans) == 3


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data(), SOURCES)
def test_the_rules_cut_nothing_that_smols_costs_would_choose(data: st.DataObject, source: SourceSpec) -> None:
    """Where resizes shrink, as they do before a model. Where one enlarges, or about keeps the size, the rule
    of the smaller type can cut the cheapest plan: converting few values first may pay for a dearer one."""
    graph = data.draw(chains(source))
    specs = graph.specs(source)
    for node in graph.nodes:
        if isinstance(node.op, Resize):
            assume(specs[node.name].elements * 2 <= specs[node.inputs[0]].elements)
    cut = optimise(graph, source, OperationCount())
    whole = optimise(graph, source, OperationCount(), prune=False)
    assert cut.after == pytest.approx(whole.after)
    assert cut.after <= cut.before * (1 + 1e-9)
