"""Costs: SMOL's counting, measured rates, and what is written to a file."""

from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.dag.bound import Cut, Fused, Resample
from beyond_serve.preprocess.dag.calibrate import calibrate, fit
from beyond_serve.preprocess.dag.costs import MeasuredCosts, OperationCount, Rate, work
from beyond_serve.preprocess.dag.graph import Graph
from beyond_serve.preprocess.dag.ops import Convert, Crop, Decode, Normalize, Reorder, Resize, UserFunction
from beyond_serve.preprocess.dag.optimise import optimise
from beyond_serve.preprocess.dag.spec import ImageSpec, SourceSpec
from beyond_serve.preprocess.plan import Interpolation

LEVELS = ImageSpec(100, 200)
FLOATS = ImageSpec(100, 200, dtype="float32")
HALF = Normalize((0.5,) * 3, (0.5,) * 3)
HALVED = Resample((200, 100), (100, 50), (0, 0), Cut(0, 0, 100, 50), Interpolation.BILINEAR, True)


def test_operations_are_counted_by_type() -> None:
    count = OperationCount()
    assert count.cost(HALVED, FLOATS) == 4 * count.cost(HALVED, LEVELS)
    # 4 taps each way; rows first: 100 wide and 100 high, then 100 wide and 50 high.
    assert work(HALVED, LEVELS).products == 3 * 4 * (100 * 100 + 100 * 50)
    assert count.cost(Cut(0, 0, 9, 9), LEVELS) == 0
    alone = count.cost(Convert(), LEVELS) + count.cost(HALF, FLOATS) + count.cost(Reorder("CHW"), FLOATS)
    assert count.cost(Fused((Convert(), HALF, Reorder("CHW"))), LEVELS) < alone


def test_fit_finds_the_rates() -> None:
    rows = [(n, p, 500 + 2.0 * n + 0.25 * p) for n, p in ((10, 400), (5_000, 300), (90_000, 700_000))]
    assert fit(rows) == pytest.approx(Rate(500, 2.0, 0.25))


def test_fit_gives_no_negative_rates() -> None:
    rate = fit([(100, 0, 100.0), (1_000, 0, 2_000.0), (10_000, 0, 30_000.0)])
    assert min(rate) >= 0
    assert rate.product == 0


def test_costs_are_written_and_read() -> None:
    costs = MeasuredCosts({"convert": Rate(1.0, 0.5, 0.0)}, "a machine", 3, 5)
    assert MeasuredCosts.from_json(costs.to_json()) == costs
    assert costs.cost(Convert(), LEVELS) == 1 + 0.5 * 60_000


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"rates": {"convert": {"call": "x"}}}'])
def test_costs_that_cannot_be_read(content: bytes) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        MeasuredCosts.from_json(content)


def test_what_was_not_measured_is_refused() -> None:
    with pytest.raises(ConfigError, match="no measured cost for 'convert'"):
        MeasuredCosts({}).cost(Convert(), LEVELS)


def test_a_calibration_knows_every_primitive_of_a_graph() -> None:
    function = UserFunction("flip", lambda pixels: np.ascontiguousarray(pixels[::-1]))
    ops = [Decode(), Convert(), HALF, function, Resize.shortest(32), Crop((24, 24)), Reorder("CHW", "BGR")]
    graph, source = Graph.chain(ops), SourceSpec(60, 40)
    costs = calibrate(graph, source, repeats=1, sizes=((24, 16), (48, 32)))
    assert optimise(graph, source, costs, prune=False).after > 0
    assert {"crop", "function flip", "resize float32 HWC planes"} <= costs.rates.keys()
    assert all(min(rate) >= 0 for rate in costs.rates.values())
