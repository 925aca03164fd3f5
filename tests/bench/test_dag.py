"""`beyond-bench dag` on small work."""

from __future__ import annotations

import random

from beyond_serve.bench.dag import GRAPH, compared, interleaved, random_chain
from beyond_serve.preprocess.dag.calibrate import calibrate
from beyond_serve.preprocess.dag.to_plan import to_plan
from beyond_serve.preprocess.plan import PreprocessPlan


def test_the_graph_is_the_servers_default_plan() -> None:
    assert to_plan(GRAPH) == PreprocessPlan()


def test_every_work_is_done_in_every_round() -> None:
    done: list[str] = []
    times = interleaved(3, lambda: done.append("a"), lambda: done.append("b"))
    assert done == ["a", "b"] * 3
    assert len(times) == 2


def test_models_are_compared_over_as_many_chains() -> None:
    first, second = compared(calibrate(repeats=1, sizes=((16, 12), (32, 24))), 3, 1)
    assert "in 3 random chains" in first
    assert "cut by the rules first" in second


def test_random_chains_are_the_same_for_the_same_seed() -> None:
    assert random_chain(random.Random(3)) == random_chain(random.Random(3))
