"""The short way from bytes to an inference says what the long way says, whatever the bytes."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beyond_serve.errors import BeyondError, InvalidRequestError, ModelNotFoundError
from beyond_serve.server.grpc.codec import decode_message, decode_request
from beyond_serve.server.grpc.preparer import Preparer
from beyond_serve.server.grpc.split import split_request
from beyond_serve.server.oip.infer import prepare_inference
from beyond_serve.server.oip.shared_memory import RegionTable
from beyond_serve.wire.bytes_tensor import encode_bytes
from beyond_serve.wire.messages import ModelInferRequest
from tests.server.grpc.fakes import FakeModel, FakeRepository

REGIONS = RegionTable()


def message(images=(b"a",), **fields):
    request = ModelInferRequest(model_name="digits", **fields)
    request.inputs.add(name="image", datatype="BYTES", shape=[len(images)])
    request.raw_input_contents.append(encode_bytes(images))
    return request


def run(inference, model):
    """What a prepared inference gives the model and answers."""
    answers = []
    inference.start(started_ns=1, received_ns=2, on_done=answers.append)
    response = answers[0]
    given_rows = model.given.pop()
    rows = given_rows if isinstance(given_rows, list) else (given_rows.dtype, given_rows.tolist())
    outputs = [(o.name, o.datatype, o.shape, np.asarray(o.data).tolist()) for o in response.outputs]
    return rows, response.id, outputs, model.timeouts_us.pop(), model.priorities.pop()


def tensor_message(rows, **fields):
    request = ModelInferRequest(model_name="digits", **fields)
    request.inputs.add(name="input", datatype="FP32", shape=rows.shape)
    request.raw_input_contents.append(rows.tobytes())
    return request


def both_ways(serialized, preparer, model):
    request = decode_request(decode_message(ModelInferRequest, serialized))
    plain = run(prepare_inference(model, request, REGIONS), model)
    first = run(preparer.prepare(serialized).inference, model)
    again = run(preparer.prepare(serialized).inference, model)
    return plain, first, again


def requests():
    with_parameters = message(id="p")
    with_parameters.parameters["timeout"].int64_param = 7
    with_parameters.parameters["priority"].int64_param = 3
    classified = message()
    classified.outputs.add(name="scores").parameters["classification"].int64_param = 2
    ranked = message((b"a", b"b"))
    ranked.parameters["top_k"].int64_param = 2
    typed = ModelInferRequest(model_name="digits", id="t")
    typed.inputs.add(name="image", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"x")
    rows = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    return {
        "image": message(),
        "images": message((b"", b"bc"), id="7", model_version="1"),
        "parameters": with_parameters,
        "classes": classified,
        "top_k": ranked,
        "tensor": tensor_message(rows, id="ä"),
        "typed": typed,
    }


@pytest.mark.parametrize("name", list(requests()))
def test_the_short_way_says_what_the_long_way_says(name):
    model = FakeModel()
    plain, first, again = both_ways(
        requests()[name].SerializeToString(), Preparer(FakeRepository(model), REGIONS), model
    )
    assert plain == first == again


def test_a_known_request_with_other_data_and_id_is_its_own():
    model = FakeModel()
    preparer = Preparer(FakeRepository(model), REGIONS)
    preparer.prepare(message((b"a",), id="1").SerializeToString())
    rows, request_id, *_ = run(
        preparer.prepare(message((b"other",), id="22").SerializeToString()).inference, model
    )
    assert (rows, request_id) == ([b"other"], "22")


def test_data_that_does_not_fit_a_known_request_is_refused():
    preparer = Preparer(FakeRepository(FakeModel()), REGIONS)
    good = message()
    preparer.prepare(good.SerializeToString())
    good.raw_input_contents[0] = b"\x05\x00\x00\x00abc"
    with pytest.raises(InvalidRequestError, match="element 1"):
        preparer.prepare(good.SerializeToString())
    tensor = tensor_message(np.zeros((1, 2, 3), np.float32))
    preparer.prepare(tensor.SerializeToString())
    tensor.raw_input_contents[0] = bytes(23)
    with pytest.raises(InvalidRequestError, match="24 bytes, 23 were sent"):
        preparer.prepare(tensor.SerializeToString())


def test_a_refused_request_is_refused_every_time():
    preparer = Preparer(FakeRepository(FakeModel()), REGIONS)
    wrong = message()
    wrong.inputs[0].datatype = "FP32"
    for _ in range(2):
        with pytest.raises(InvalidRequestError):
            preparer.prepare(wrong.SerializeToString())


def test_a_model_that_was_loaded_anew_is_asked_anew():
    repository = FakeRepository(FakeModel())
    preparer = Preparer(repository, REGIONS)
    serialized = message().SerializeToString()
    preparer.prepare(serialized)
    new = FakeModel()
    repository.models[:] = [new]
    run(preparer.prepare(serialized).inference, new)
    repository.models.clear()
    with pytest.raises(ModelNotFoundError):
        preparer.prepare(serialized)


def test_a_known_request_does_not_keep_an_unloaded_model_alive():
    repository = FakeRepository(FakeModel())
    preparer = Preparer(repository, REGIONS)
    preparer.prepare(message().SerializeToString())
    gone = weakref.ref(repository.models.pop())
    gc.collect()
    assert gone() is None


def test_the_trace_parameter_is_seen_each_time():
    preparer = Preparer(FakeRepository(FakeModel()), REGIONS)
    request = message()
    request.parameters["trace"].bool_param = True
    assert [preparer.prepare(request.SerializeToString()).traced for _ in range(2)] == [True, True]
    request.parameters["trace"].bool_param = False
    assert not preparer.prepare(request.SerializeToString()).traced


def test_many_different_requests_are_forgotten_again():
    preparer = Preparer(FakeRepository(FakeModel()), REGIONS)
    for number in range(600):
        request = message()
        request.parameters["mine"].int64_param = number
        preparer.prepare(request.SerializeToString())
    assert len(preparer._patterns) <= 256


def outcome(way):
    try:
        return way()
    except BeyondError as error:
        return type(error), error.message


@given(st.binary(max_size=60), st.integers(0, 80), st.integers(0, 80))
def test_damaged_messages_end_alike(damage, start, length):
    model = FakeModel()
    preparer = Preparer(FakeRepository(model), REGIONS)
    serialized = bytearray(message((b"abc",), id="id").SerializeToString())
    preparer.prepare(bytes(serialized))
    serialized[start : start + length] = damage
    damaged = bytes(serialized)

    def plain():
        request = decode_request(decode_message(ModelInferRequest, damaged))
        if request.model != "digits" or request.version not in ("", "1"):
            raise ModelNotFoundError(f"there is no model '{request.model}'")
        return run(prepare_inference(model, request, REGIONS), model)

    assert outcome(lambda: run(preparer.prepare(damaged).inference, model)) == outcome(plain)


def test_a_message_of_very_many_fields_is_left_to_protobuf():
    request = message()
    request.raw_input_contents.extend([b""] * 100)
    assert split_request(request.SerializeToString()) is None


def test_views_are_cut_not_copied():
    serialized = message((bytes(1000),)).SerializeToString()
    parts = split_request(serialized)
    assert parts is not None
    assert parts.blobs[0].obj is serialized
