"""Answers written from kept parts are the very messages that protobuf would write."""

from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.server.grpc.codec import encode_response
from beyond_serve.server.grpc.response_writer import ResponseWriter
from beyond_serve.wire.messages import ModelInferResponse
from beyond_serve.wire.oip import InferResponse, OutputTensor


def output(data, datatype="FP32", shape=None, name="scores", parameters=None):
    return OutputTensor(name, datatype, shape or data.shape, data, parameters or {})


RESPONSES = {
    "plain": InferResponse("digits", "1", "", (output(np.arange(6, dtype="<f4").reshape(2, 3)),)),
    "id": InferResponse("digits", "1", "ä" * 200, (output(np.zeros((1, 40), "<f4")),)),
    "big endian": InferResponse("digits", "1", "", (output(np.arange(3, dtype=">f4").reshape(1, 3)),)),
    "strided": InferResponse("digits", "1", "", (output(np.arange(8, dtype="<f4").reshape(2, 4)[:, ::2]),)),
    "half": InferResponse("digits", "1", "", (output(np.ones((1, 3), "<f2"), "FP16"),)),
    "bool": InferResponse("digits", "1", "", (output(np.array([[True, False]]), "BOOL"),)),
    "bytes": InferResponse("digits", "1", "", (output([b"0.9:7:seven", b""], "BYTES", (1, 2)),)),
    "empty": InferResponse("digits", "1", "", (output(np.zeros((0, 3), "<f4")),)),
    "two": InferResponse(
        "m",
        "1",
        "x",
        (output(np.zeros((1, 1), "<i8"), "INT64"), output(np.ones((1, 2), "u1"), "UINT8", None, "b")),
    ),
    "shared memory": InferResponse(
        "m", "1", "", (output(None, "FP32", (1, 3), parameters={"shared_memory_region": "r"}),)
    ),
    "parameters": InferResponse("m", "1", "", (), {"simulated": True, "n": 2**63, "f": 0.5}),
    "nothing": InferResponse("m", "1", "", ()),
}


@pytest.mark.parametrize("name", list(RESPONSES))
def test_what_is_written_is_what_protobuf_would_write(name):
    writer = ResponseWriter()
    expected = encode_response(RESPONSES[name])
    for _ in range(2):
        assert ModelInferResponse.FromString(writer.write(RESPONSES[name])) == expected


def test_answers_of_other_shapes_are_not_confused():
    writer = ResponseWriter()
    for rows in (1, 2, 1):
        response = InferResponse("m", "1", str(rows), (output(np.full((rows, 3), rows, "<f4")),))
        assert ModelInferResponse.FromString(writer.write(response)) == encode_response(response)


def test_many_different_answers_are_forgotten_again():
    writer = ResponseWriter()
    for rows in range(600):
        writer.write(InferResponse("m", "1", "", (output(np.zeros((rows, 1), "<f4")),)))
    assert len(writer._heads) <= 256


def test_a_parameter_that_has_no_form_is_a_fault_not_a_wrong_answer():
    for value in (2**64, None, b"x"):
        with pytest.raises((TypeError, ValueError)):
            ResponseWriter().write(InferResponse("m", "1", "", (), {"bad": value}))
