"""A graph that has the form of the server's plan becomes one, and makes the same pixels."""

from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.errors import ConfigError
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
from beyond_serve.preprocess.dag.reference import run_naive
from beyond_serve.preprocess.dag.to_plan import to_plan
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.plan import IMAGENET_MEAN, IMAGENET_STD, Interpolation, PreprocessPlan
from tests.preprocess.images import jpeg

IMAGENET = Normalize(IMAGENET_MEAN, IMAGENET_STD)


def chain(*ops: Op) -> Graph:
    return Graph.chain([Decode(), *ops])


def test_the_usual_chain_is_the_servers_default() -> None:
    wanted = PreprocessPlan()
    sizes = Resize.shortest(256), Crop((224, 224))
    assert to_plan(chain(*sizes, Convert(), IMAGENET, Reorder("CHW"))) == wanted
    assert to_plan(chain(Convert(), IMAGENET, Reorder("CHW"), *sizes)) == wanted


@pytest.mark.parametrize(
    "ops",
    [
        (
            Convert(1 / 128),
            Normalize((1.0, 0.5, 0.25), (0.5, 0.25, 0.125)),
            Resize.shortest(40),
            Crop((32, 32)),
        ),
        (Resize((32, 32)), Convert(), Reorder(colour="BGR"), IMAGENET, Normalize((0.1, 0.2, 0.3), (2, 3, 4))),
        (Convert(), IMAGENET, Reorder("CHW", "BGR"), Resize((32, 32)), Reorder("HWC")),
        (Resize.shortest(40, Interpolation.BICUBIC), Crop((32, 32)), Convert(), IMAGENET),
    ],
)
def test_host_and_engine_make_what_the_graph_makes(ops: tuple[Op, ...]) -> None:
    data = jpeg(90, 70)
    plan = to_plan(chain(*ops))
    row = np.empty(plan.output_shape, np.uint8)
    HostPreprocessor(plan).run(data, read_header(data), row)
    engine = plan.normalization
    ordered = row if engine.channel_order == "RGB" else row[:, :, ::-1]
    found = (ordered * engine.scale - np.asarray(engine.mean)) / np.asarray(engine.std)
    wanted = run_naive(chain(*ops), data)["output"]
    level = engine.scale / min(engine.std)
    assert np.abs(found - wanted).max() <= 2 * level + 1e-4


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ((Crop((300, 300)), Resize((32, 32))), "crop, resize; a plan resizes once, then crops once"),
        ((Resize((64, 64)), Resize((32, 32))), "resize, resize"),
        ((Resize((64, 64)), Crop((32, 32), (0, 0))), "not at the centre"),
        ((Resize((64, 64), antialias=False),), "not antialiased"),
        ((Convert(), Resize((64, 64), interpolation=Interpolation.LANCZOS)), "would clip"),
        ((Resize((64, 64)), UserFunction("f", np.copy)), "a function of its own"),
    ],
)
def test_graphs_that_are_more(ops: tuple[Op, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        to_plan(chain(*ops))


def test_branches_are_more() -> None:
    nodes = Node("d", Decode()), Node("a", Convert(), ("d",)), Node("b", Convert(0.5), ("d",))
    with pytest.raises(ConfigError, match="branches"):
        to_plan(Graph(nodes, ("a", "b")))


def test_a_size_that_is_not_fixed_is_refused_by_the_plan() -> None:
    with pytest.raises(ConfigError, match="gives no fixed size"):
        to_plan(chain(Resize.shortest(32)))
