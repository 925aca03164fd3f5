"""What a graph refuses before anything runs, and how it says so."""

from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.errors import ConfigError, PayloadTooLargeError
from beyond_serve.preprocess.dag.costs import OperationCount
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
from beyond_serve.preprocess.dag.pipeline import Pipeline
from beyond_serve.preprocess.dag.spec import ImageSpec, SourceSpec, SpecPattern
from beyond_serve.preprocess.limits import PixelLimits
from beyond_serve.preprocess.plan import Interpolation
from beyond_serve.preprocess.plan import Resize as Rule
from tests.preprocess.dag.graphs import AVERAGED, picture
from tests.preprocess.images import png_header

SOURCE = SourceSpec(500, 375)
GREY = UserFunction("grey", lambda pixels: pixels[:, :, :1], gives=SpecPattern(channels=1, colour="other"))
HALF = Normalize((0.5,) * 3, (0.5,) * 3)


def test_specs_of_a_chain() -> None:
    ops = [Decode(), Resize.shortest(256), Crop((224, 224)), Convert(), HALF, Reorder("CHW", "BGR")]
    specs = list(Graph.chain(ops).specs(SOURCE).values())
    assert specs[1] == ImageSpec(256, 341)
    assert specs[-1] == ImageSpec(224, 224, 3, "float32", "CHW", "BGR")
    assert specs[-1].shape == (3, 224, 224)


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ([HALF], "'output': normalize takes float32, here is uint8"),
        ([Convert(), Convert()], "'output': convert takes uint8, here is float32"),
        ([Crop((400, 400))], "'output': crop 400x400 does not fit into 500x375"),
        ([Crop((10, 10), (495, 0))], r"crop 10x10 at \(495, 0\) does not fit"),
        ([GREY, Convert(), HALF], "'output': normalize has 3 means, the image 1 channels"),
        ([GREY, Reorder(colour="BGR")], "reorder to BGR: the image's 1 channels are not colours"),
        (
            [Convert(), UserFunction("f", np.copy, (SpecPattern(dtype="uint8"),))],
            "dtype is float32, it takes",
        ),
        ([Resize.shortest(1), Crop((1, 2)), Convert()], "'2 crop': crop 2x1 does not fit into 1x1"),
    ],
)
def test_impossible_pipelines_are_refused(ops: list[Op], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Graph.chain([Decode(), *ops]).specs(SOURCE)


@pytest.mark.parametrize(
    ("nodes", "outputs", "message"),
    [
        ([Node("a", Decode()), Node("a", Convert(), ("a",))], ("a",), "two operations are named 'a'"),
        (
            [Node("b", Convert(), ("a",)), Node("a", Decode())],
            ("b",),
            "'b' is fed by 'a', which is not before",
        ),
        ([Node("a", Decode())], ("b",), "the output 'b' is no operation"),
        ([Node("a", Decode())], (), "at least one output"),
        ([Node("a", Convert())], ("a",), "'a' has 0 inputs, convert takes 1"),
        ([Node("a", Decode()), Node("b", AVERAGED, ("a",))], ("b",), "'b' has 1 inputs, averaged takes 2"),
    ],
)
def test_graphs_that_are_none(nodes: list[Node], outputs: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Graph(tuple(nodes), outputs)


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(ConfigError, match="empty"):
        Graph.chain([])


def test_operations_that_make_no_sense_alone() -> None:
    for wrong, message in (
        (lambda: Resize((0, 5)), "at least 1"),
        (lambda: Resize((5, 5), Rule.NONE), "resizes nothing"),
        (lambda: Resize((5, 5), interpolation=Interpolation.LANCZOS, antialias=False), "antialiasing only"),
        (lambda: Crop((1, 1), (-1, 0)), "nowhere in an image"),
        (lambda: Convert(0.0), "above 0"),
        (lambda: Normalize((1.0,), (0.0,)), "above 0"),
        (lambda: Reorder(colour="other"), "RGB or BGR"),
        (lambda: UserFunction("f", np.copy, ()), "takes no image"),
        (lambda: UserFunction("f", np.copy, gives=SpecPattern(width=3), pointwise=True), "pointwise"),
    ):
        with pytest.raises(ConfigError, match=message):
            wrong()


def test_a_function_that_returns_something_else_is_named() -> None:
    graph = Graph.chain([Decode(), UserFunction("cut", lambda pixels: pixels[:1])])
    with pytest.raises(ConfigError, match=r"function 'cut' returned uint8\(1, 4, 3\)"):
        Pipeline(graph, OperationCount()).run(picture(SourceSpec(4, 4)))


def test_functions_cannot_write_to_what_others_read() -> None:
    def spoils(pixels: np.ndarray) -> np.ndarray:
        pixels[:] = 0
        return pixels

    graph = Graph.chain([Decode(), UserFunction("spoils", spoils)])
    with pytest.raises(ValueError, match="read-only"):
        Pipeline(graph, OperationCount()).run(picture(SourceSpec(4, 4)))


def test_pixels_are_limited_before_any_is_made() -> None:
    limits = PixelLimits(max_pixels=1_000_000, max_resized_pixels=20_000)
    pipeline = Pipeline(Graph.chain([Decode(), Resize.shortest(100)]), OperationCount(), limits)
    assert pipeline.run(picture(SourceSpec(40, 40)))["output"].shape == (100, 100, 3)
    with pytest.raises(PayloadTooLargeError, match="'output' would make 1000x100 pixels"):
        pipeline.run(png_header(400, 40))
    with pytest.raises(PayloadTooLargeError, match="header says 1001x1000 pixels"):
        pipeline.run(png_header(1001, 1000))
