"""Contents of requests: raw, typed, in shared memory, and every wrong mixture of them."""

from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.errors import InvalidRequestError
from beyond_serve.server.grpc.codec import decode_message, decode_request
from beyond_serve.server.grpc.parameters import read_parameters, write_parameters
from beyond_serve.server.grpc.typed_contents import read_contents
from beyond_serve.wire.messages import InferTensorContents, ModelInferRequest
from beyond_serve.wire.oip import RegionSlice


def request(*inputs, raw=(), **fields):
    """`inputs` are (name, datatype, shape, contents or None)."""
    message = ModelInferRequest(model_name="m", raw_input_contents=raw, **fields)
    for name, datatype, shape, contents in inputs:
        tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
        if contents is not None:
            tensor.contents.CopyFrom(InferTensorContents(**contents))
    return message


A = ("a", "FP32", [2], None)
B = ("b", "INT32", [1], None)


def test_raw_contents_go_to_the_inputs_in_order():
    decoded = decode_request(request(A, B, raw=[bytes(8), b"\x01\x00\x00\x00"], id="5"))
    assert [(i.name, i.shape, i.data) for i in decoded.inputs] == [
        ("a", (2,), bytes(8)),
        ("b", (1,), b"\x01\x00\x00\x00"),
    ]
    assert (decoded.model, decoded.id, decoded.outputs) == ("m", "5", ())


def test_an_input_in_shared_memory_takes_no_raw_contents():
    message = request(A, B, raw=[b"\x01\x00\x00\x00"])
    parameters = message.inputs[0].parameters
    parameters["shared_memory_region"].string_param = "r"
    parameters["shared_memory_byte_size"].int64_param = 8
    first, second = decode_request(message).inputs
    assert first.data == RegionSlice("r", 0, 8)
    assert second.data == b"\x01\x00\x00\x00"


def test_requested_outputs_carry_their_parameters():
    message = request(A, raw=[bytes(8)])
    message.outputs.add(name="x").parameters["classification"].int64_param = 3
    plain = message.outputs.add(name="y")
    plain.parameters["shared_memory_region"].string_param = "r"
    plain.parameters["shared_memory_byte_size"].uint64_param = 12
    plain.parameters["shared_memory_offset"].int64_param = 4
    x, y = decode_request(message).outputs
    assert (x.name, x.classification, x.region) == ("x", 3, None)
    assert (y.name, y.classification, y.region) == ("y", 0, RegionSlice("r", 4, 12))


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (request(A), "input 'a' has no data"),
        (request(A, B, raw=[bytes(8)]), "input 'b' has no data"),
        (request(A, raw=[bytes(8), b""]), "2 raw_input_contents, its inputs need 1"),
        (request(("a", "FP32", [1], {"fp32_contents": [1]}), raw=[bytes(4)]), "raw_input_contents"),
        (request(("a", "FP32", [1], {"fp32_contents": [1]}), B), "input 'b' has no data"),
        (request(("a", "FP32", [1], {"int_contents": [1]})), "fill|filled"),
        (request(("a", "FP32", [1] * 65, None), raw=[bytes(4)]), "65 axes"),
    ],
    ids=["none", "missing", "extra", "both", "one without", "wrong field", "axes"],
)
def test_contents_that_are_mixed_missing_or_too_many_are_refused(message, says):
    with pytest.raises(InvalidRequestError) as raised:
        decode_request(message)
    assert any(part in str(raised.value) + str(raised.value.hint) for part in says.split("|"))


@pytest.mark.parametrize("part", ["inputs", "outputs", "parameters"])
def test_very_many_parts_are_refused_before_they_are_read(part):
    message = request(A, raw=[bytes(8)])
    for number in range(1025):
        if part == "parameters":
            message.parameters[str(number)].bool_param = True
        else:
            getattr(message, part).add(name=str(number))
    with pytest.raises(InvalidRequestError, match=part):
        decode_request(message)


def test_both_data_and_a_region_are_refused():
    message = request(("a", "FP32", [1], {"fp32_contents": [1]}))
    message.inputs[0].parameters["shared_memory_region"].string_param = "r"
    message.inputs[0].parameters["shared_memory_byte_size"].int64_param = 4
    with pytest.raises(InvalidRequestError, match="shared memory"):
        decode_request(message)


def test_bytes_that_are_no_message():
    with pytest.raises(InvalidRequestError, match=r"inference\.ModelInferRequest"):
        decode_message(ModelInferRequest, b"\x0a\xff")


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("INT16", "int_contents", [-32768, 32767]),
        ("INT32", "int_contents", [-(2**31), 2**31 - 1]),
        ("INT64", "int64_contents", [-(2**63), 2**63 - 1]),
        ("UINT8", "uint_contents", [0, 255]),
        ("UINT16", "uint_contents", [0, 65535]),
        ("UINT32", "uint_contents", [0, 2**32 - 1]),
        ("UINT64", "uint64_contents", [0, 2**64 - 1]),
        ("FP32", "fp32_contents", [0.5, -1.25]),
        ("FP64", "fp64_contents", [0.1, 1e300]),
    ],
)
def test_typed_numbers_become_arrays_of_their_datatype(datatype, field, values):
    array = read_contents(InferTensorContents(**{field: values}), datatype, (2, 1), "input 'a'")
    assert isinstance(array, np.ndarray)
    assert array.shape == (2, 1)
    assert array.dtype.itemsize == {"8": 1, "6": 2, "2": 4, "4": 8, "L": 1}[datatype[-1]]
    assert array.reshape(-1).tolist() == values


def test_typed_bytes_become_a_list():
    assert read_contents(InferTensorContents(bytes_contents=[b"x", b""]), "BYTES", (2,), "a") == [b"x", b""]


@pytest.mark.parametrize(
    ("datatype", "contents", "shape", "says"),
    [
        ("INT8", {"int_contents": [128]}, (1,), "does not fit INT8"),
        ("UINT16", {"uint_contents": [65536]}, (1,), "does not fit UINT16"),
        ("FP16", {"fp32_contents": [1.0]}, (1,), "FP16 has no typed contents"),
        ("BF16", {}, (1,), "BF16 has no typed contents"),
        ("COMPLEX", {}, (1,), "unknown datatype"),
        ("FP32", {"fp32_contents": [1.0]}, (2,), "2 elements, fp32_contents has 1"),
        ("FP32", {"fp32_contents": [1.0]}, (-1,), "shape"),
        ("FP32", {"fp64_contents": [1.0]}, (1,), "fp64_contents is filled"),
    ],
)
def test_typed_contents_that_do_not_fit_are_refused(datatype, contents, shape, says):
    with pytest.raises(InvalidRequestError, match=says):
        read_contents(InferTensorContents(**contents), datatype, shape, "input 'a'")


def test_parameters_go_both_ways():
    values = {"b": True, "i": -5, "u": 2**63, "f": 0.5, "s": "text"}
    message = ModelInferRequest()
    write_parameters(values, message.parameters)
    assert read_parameters(message.parameters, "the request") == values
    assert message.parameters["b"].WhichOneof("parameter_choice") == "bool_param"


def test_a_parameter_without_a_value_is_refused():
    message = ModelInferRequest()
    message.parameters["empty"].SetInParent()
    with pytest.raises(InvalidRequestError, match="'empty' has no value"):
        read_parameters(message.parameters, "the request")
