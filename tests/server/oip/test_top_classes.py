"""The request parameter `top_k`: probabilities, where Triton's classification ranks raw outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from beyond_serve.batching import Batch
from beyond_serve.engines.classify import classify
from beyond_serve.errors import EngineError
from beyond_serve.wire.oip import RequestedOutput
from tests.server.oip.fakes import FakeModel, default_outputs, engine_info
from tests.server.oip.test_infer import images, pixels, prepare, refused, run


def asked(model: FakeModel, *inputs: Any, top_k: int) -> tuple[tuple[int, ...], list[list[str]]]:
    """Shape and fields of the answered elements."""
    response = run(model, *inputs, parameters={"top_k": top_k})
    (output,) = response.outputs
    assert (output.name, output.datatype) == ("scores", "BYTES")
    assert isinstance(output.data, list)
    return output.shape, [element.decode().split(":") for element in output.data]


def softmax(row: int) -> Any:
    scores = np.exp(default_outputs(2)["scores"][row].astype(float))
    return scores / scores.sum()


def test_classes_are_ranked_by_their_probability() -> None:
    shape, elements = asked(FakeModel(), images(b"a", b"b"), top_k=2)

    assert shape == (2, 2)
    assert [element[1:] for element in elements] == [["0", "ant"], ["1", "bee"], ["1", "bee"], ["0", "ant"]]
    expected = [*softmax(0)[[0, 1]], *softmax(1)[[1, 0]]]
    assert [float(element[0]) for element in elements] == pytest.approx(expected, rel=1e-6)


def test_more_than_there_are_gives_all() -> None:
    shape, elements = asked(FakeModel(labels=None), images(b"a"), top_k=10**12)

    assert shape == (1, 3)
    assert [element[1:] for element in elements] == [["0"], ["1"], ["2"]]
    assert sum(float(element[0]) for element in elements) == pytest.approx(1)


def test_rows_of_the_models_own_tensor_are_ranked_too() -> None:
    assert asked(FakeModel(), pixels(), top_k=1)[0] == (2, 1)


def test_requests_of_a_batch_get_as_many_as_each_asked_for() -> None:
    model, results = FakeModel(), []
    for top_k in (1, 3):
        inference = prepare(model, images(b"a"), parameters={"top_k": top_k})
        inference.start(started_ns=1, received_ns=2, on_done=results.append)
    batch = Batch([submitted.call.requests[0] for submitted in model.submitted], "key", "full")
    batch.start("fake", simulated=False)
    batch.outputs = classify(default_outputs(2), model.info, batch.top_k)
    batch.finish()

    assert [result.outputs[0].shape for result in results] == [(1, 1), (1, 3)]


def test_a_row_without_numbers_fails() -> None:
    model, results = FakeModel(), []
    model.outputs = lambda count: {"scores": np.full((count, 3), np.nan, np.float32)}
    prepare(model, images(b"a"), parameters={"top_k": 1}).start(
        started_ns=1, received_ns=2, on_done=results.append
    )
    model.answer()

    assert isinstance(results[0], EngineError)


@pytest.mark.parametrize("value", [0, -1, True, "5", 1.0])
def test_the_count_is_a_whole_number_from_1(value: object) -> None:
    assert "'top_k'" in refused(FakeModel(), images(b"a"), parameters={"top_k": value})


def test_outputs_cannot_be_asked_for_beside_it() -> None:
    outputs = (RequestedOutput("scores", classification=2),)

    said = refused(FakeModel(), images(b"a"), outputs=outputs, parameters={"top_k": 1})

    assert "'top_k'" in said
    assert "'scores'" in said


def test_a_model_without_scores_refuses() -> None:
    model = FakeModel(engine_info(scores=None))

    assert "no class scores" in refused(model, images(b"a"), parameters={"top_k": 1})
