"""Requests and answers whose tensors are JSON, and every malformed one by itself."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.engines.protocol import TensorSpec
from tests.server.oip.fakes import FakeModel, engine_info
from tests.server.v2.asking import Server

IMAGE: dict[str, Any] = {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["jpeg"]}
PIXELS: dict[str, Any] = {"name": "pixels", "datatype": "FP32", "shape": [1, 3, 2, 2], "data": [0.5] * 12}
OUTPUT = {"name": "features"}


def one(given: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"inputs": [given], **more}


def test_an_image_in_and_every_output_back() -> None:
    reply = Server().infer(one(IMAGE, id="42"))
    assert (reply.status, reply.content_type, reply.headers) == (200, "application/json", {})
    assert reply.json() == {
        "model_name": "m",
        "model_version": "1",
        "id": "42",
        "outputs": [
            {"name": "scores", "datatype": "FP32", "shape": [1, 3], "data": [0.5, 0.25, -1.0]},
            {"name": "features", "datatype": "INT64", "shape": [1, 2], "data": [0, 0]},
        ],
    }


def test_no_id_in_none_out() -> None:
    assert "id" not in Server().infer(one(IMAGE)).json()


def test_outputs_in_the_order_asked_and_none_means_all() -> None:
    asked = one(IMAGE, outputs=[{"name": "features"}, {"name": "scores"}])
    assert [output["name"] for output in Server().infer(asked).json()["outputs"]] == ["features", "scores"]
    assert len(Server().infer(one(IMAGE, outputs=[])).json()["outputs"]) == 2


@pytest.mark.parametrize("nested", [False, True])
def test_a_tensor_flat_or_nested(nested: bool) -> None:
    server = Server()
    rows = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    data = rows.tolist() if nested else rows.reshape(-1).tolist()
    assert server.infer(one(PIXELS | {"data": data})).status == 200
    np.testing.assert_array_equal(server.model.submitted[0].rows, rows)


def test_an_image_as_base64() -> None:
    server = Server()
    data = [base64.b64encode(b"\xff\xd8").decode()]
    given = IMAGE | {"data": data, "parameters": {"content_type": "base64"}}
    assert server.infer(one(given)).status == 200
    assert server.model.submitted[0].rows == [b"\xff\xd8"]
    broken = given | {"data": ["/9g"]}
    assert "no base64" in server.infer(one(broken)).error


def test_classes() -> None:
    asked = one(IMAGE, outputs=[{"name": "scores", "parameters": {"classification": 2}}])
    assert Server().infer(asked).json()["outputs"] == [
        {"name": "scores", "datatype": "BYTES", "shape": [1, 2], "data": ["0.5:0:ant", "0.25:1:bee"]}
    ]


def test_timeout_and_priority() -> None:
    server = Server()
    server.infer(one(IMAGE, parameters={"timeout": 250_000, "priority": 1, "own": "x"}))
    options = server.model.submitted[0].options
    assert (options["timeout_us"], options["priority"]) == (250_000, 1)
    assert (options["started_ns"], options["received_ns"]) == (1000, 3000)


def test_the_version_of_the_path() -> None:
    server = Server()
    assert server.infer(one(IMAGE), target="/v2/models/m/versions/1/infer").status == 200
    reply = server.infer(one(IMAGE), target="/v2/models/m/versions/2/infer")
    assert (reply.status, reply.error) == (404, "there is no model 'm'; this server knows others")
    reply = server.infer(one(IMAGE), target="/v2/models/m/versions/v1/infer")
    assert (reply.status, "version 'v1' is no number" in reply.error) == (400, True)


def test_an_encoded_name() -> None:
    server = Server(FakeModel(name="a/ü b", answers_at_once=True))
    assert server.infer(one(IMAGE), target="/v2/models/a%2F%C3%BC%20b/infer").status == 200


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"", "no valid JSON"),
        (b"{", "no valid JSON"),
        (b"\xff\xfe", "no valid JSON"),
        (b'{"inputs": NaN}', "no valid JSON"),
        (b"[" * 5000, "no valid JSON"),
        (b"[]", "no JSON object"),
        (b'"text"', "no JSON object"),
        ({}, "no inputs"),
        ({"inputs": []}, "no inputs"),
        ({"inputs": {}}, "'inputs' is no array of objects"),
        ({"inputs": None}, "'inputs' is no array of objects"),
        ({"inputs": ["image"]}, "'inputs' is no array of objects"),
        (one(IMAGE, id=42), "'id' is no string"),
        (one(IMAGE, id=None), "'id' is no string"),
        (one(IMAGE, parameters=[]), "the request: 'parameters' is no object"),
        (one(IMAGE, parameters=None), "the request: 'parameters' is no object"),
        (one(IMAGE, parameters={"timeout": "1"}), "parameter 'timeout'"),
        (one(IMAGE, parameters={"priority": -1}), "parameter 'priority'"),
        (one(IMAGE, parameters={"binary_data_output": 1}), "parameter 'binary_data_output'"),
        (one(IMAGE, outputs={}), "'outputs' is no array of objects"),
        (one(IMAGE, outputs=[{}]), "an output has no 'name'"),
        (one(IMAGE, outputs=[{"name": 1}]), "an output has no 'name'"),
        (one(IMAGE, outputs=[{"name": "x"}]), "no output 'x'"),
        (one(IMAGE, outputs=[OUTPUT, OUTPUT]), "'features' is asked for twice"),
        (one(IMAGE, outputs=[OUTPUT | {"parameters": 1}]), "output 'features': 'parameters' is no object"),
        (one(IMAGE, outputs=[OUTPUT | {"parameters": {"binary_data": "yes"}}]), "'binary_data'"),
        (one(IMAGE, outputs=[OUTPUT | {"parameters": {"classification": 0}}]), "'classification'"),
        (one(IMAGE, outputs=[OUTPUT | {"parameters": {"classification": True}}]), "'classification'"),
        ({"inputs": [IMAGE, IMAGE]}, "'image' is given twice"),
        ({"inputs": [IMAGE, PIXELS]}, "are alternatives"),
        (one(IMAGE | {"name": "x"}), "no input 'x'"),
        (one(IMAGE | {"name": ""}), "an input has no 'name'"),
        (one(IMAGE | {"name": None}), "an input has no 'name'"),
        (one(IMAGE | {"datatype": None}), "no 'datatype'"),
        (one(IMAGE | {"datatype": "STRING"}), "unknown datatype 'STRING'"),
        (one(IMAGE | {"shape": None}), "no 'shape'"),
        (one(IMAGE | {"shape": 1}), "no 'shape'"),
        (one(IMAGE | {"shape": [1] * 33}), "no 'shape'"),
        (one(IMAGE | {"shape": [1.0]}), "'shape' holds 1.0"),
        (one(IMAGE | {"shape": [True]}), "'shape' holds True"),
        (one(IMAGE | {"shape": [-1]}), "'shape' holds -1"),
        (one(IMAGE | {"shape": [2]}), "1 elements were sent"),
        (one(IMAGE | {"shape": [10**30]}), "'shape' holds 1e+30"),
        (one(IMAGE | {"parameters": "x"}), "input 'image': 'parameters' is no object"),
        (one(IMAGE | {"data": None}), "'data' is null"),
        (one(IMAGE | {"data": "jpeg"}), "'data' is a string"),
        (one(IMAGE | {"data": [1]}), "holds a whole number"),
        (one({k: v for k, v in IMAGE.items() if k != "data"}), "input 'image' has no data"),
        (one(PIXELS | {"datatype": "FP64"}), "'pixels' is FP64, model 'm' takes FP32"),
        (one(PIXELS | {"shape": [1, 3, 4, 1]}), "shape [1, 3, 4, 1], the model takes [-1, 3, 2, 2]"),
        (one(PIXELS | {"shape": [0, 3, 2, 2], "data": []}), "shape [0, 3, 2, 2]"),
        (one(PIXELS | {"data": [0.5] * 11}), "11 elements were sent"),
        (one(PIXELS | {"data": [None] * 12}), "holds null"),
        (one(PIXELS | {"data": [True] * 12}), "holds a boolean"),
        (one(PIXELS | {"data": [1e39] * 12}), "out of FP32's range"),
        (one(PIXELS | {"datatype": "FP16"}), "FP16 has no JSON form"),
        (one(IMAGE | {"parameters": {"binary_data_size": 4}}), "has no Inference-Header-Content-Length"),
        (one(IMAGE | {"parameters": {"shared_memory_region": "r"}}), "shared memory needs both"),
        (
            one(IMAGE | {"parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 1}}),
            "more than once where its data is",
        ),
    ],
)
def test_malformed_requests(document: object, said: str) -> None:
    server = Server()
    reply = server.infer(document)
    assert reply.status == 400, reply
    assert said in reply.error
    assert server.model.submitted == []


words = st.text("aé1", max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=4,
)
fields = st.sampled_from(["name", "datatype", "shape", "data", "parameters", "other"])


@settings(max_examples=40)
@given(
    st.dictionaries(fields, json_values),
    st.dictionaries(st.sampled_from(["id", "outputs", "parameters"]), json_values),
)
def test_any_json_is_answered_or_refused(changes: dict[str, Any], more: dict[str, Any]) -> None:
    assert Server().infer(one(IMAGE | changes, **more)).status in (200, 400)


@given(st.binary(max_size=60))
def test_any_bytes_are_refused(body: bytes) -> None:
    assert Server().infer(body).status == 400


def test_an_unknown_model() -> None:
    reply = Server().infer(one(IMAGE), target="/v2/models/x/infer")
    assert (reply.status, reply.error) == (404, "there is no model 'x'; this server knows others")


class TestAnswersThatJsonCannotSay:
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, value: float) -> None:
        model = FakeModel(answers_at_once=True)
        model.outputs = lambda count: {"scores": np.full((count, 3), value, np.float32)}
        reply = Server(model).infer(one(IMAGE, outputs=[{"name": "scores"}]))
        assert reply.status == 400
        assert reply.error.startswith("output 'scores' holds NaN or infinity")
        assert len(model.replied) == 1

    def test_half_floats_are_refused_before_they_are_computed(self) -> None:
        model = FakeModel(engine_info(outputs=(TensorSpec("y", "FP16", (-1, 1)),)), answers_at_once=True)
        model.outputs = lambda count: {"y": np.zeros((count, 1), np.float16)}
        server = Server(model)
        reply = server.infer(one(IMAGE))
        assert (reply.status, "output 'y' is FP16, which has no JSON form" in reply.error) == (400, True)
        assert model.submitted == []
        assert server.infer(one(IMAGE, parameters={"binary_data_output": True})).status == 200

    def test_labels_that_are_no_utf_8_do_not_exist(self) -> None:
        asked = one(IMAGE, outputs=[{"name": "scores", "parameters": {"classification": 1}}])
        model = FakeModel(labels=("ämse",), answers_at_once=True)
        assert Server(model).infer(asked).json()["outputs"][0]["data"] == ["0.5:0:ämse"]
