"""The private descriptors: true to the .proto files, true to the protocol, alone in their pool."""

from __future__ import annotations

import pytest
import tritonclient.grpc.service_pb2 as triton
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FieldDescriptor

from beyond_serve.wire import messages
from beyond_serve.wire.compile_protos import compile_protos
from beyond_serve.wire.descriptors import FILE_DESCRIPTOR_SET


def test_the_compiled_descriptors_match_the_proto_files():
    compiled = descriptor_pb2.FileDescriptorSet.FromString(compile_protos())
    kept = descriptor_pb2.FileDescriptorSet.FromString(FILE_DESCRIPTOR_SET)
    assert kept == compiled, "run python -m beyond_serve.wire.compile_protos"


def test_every_method_is_the_one_that_tritonclient_calls():
    theirs = triton.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
    assert {
        (m.name, m.input_type.full_name, m.output_type.full_name, m.client_streaming, m.server_streaming)
        for m in theirs
    } == {
        (
            name,
            m.request.DESCRIPTOR.full_name,
            m.response.DESCRIPTOR.full_name,
            m.client_streaming,
            m.server_streaming,
        )
        for name, m in messages.METHODS.items()
    }


def _fields(message):
    """(path, number, type, repeated, map, enum's values) of every field at every depth below `message`."""
    for field in message.fields:
        enum = (
            tuple((value.name, value.number) for value in field.enum_type.values) if field.enum_type else None
        )
        oneof = field.containing_oneof.name if field.containing_oneof else None
        yield message.full_name, field.name, field.number, field.type, field.is_repeated, oneof, enum
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            yield from _fields(field.message_type)


@pytest.mark.parametrize("name", sorted(messages.METHODS))
def test_every_field_has_the_protocols_number_and_type(name):
    """Ours may know fewer fields (of the model's configuration), never others."""
    method = messages.METHODS[name]
    theirs = triton.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name[name]
    for our, their in (
        (method.request.DESCRIPTOR, theirs.input_type),
        (method.response.DESCRIPTOR, theirs.output_type),
    ):
        missing = set(_fields(our)) - set(_fields(their))
        assert not missing
        if name != "ModelConfig":
            assert set(_fields(our)) == set(_fields(their))


def test_the_descriptors_live_in_a_pool_of_their_own():
    ours = messages.ModelInferRequest.DESCRIPTOR
    assert ours.file.pool is not descriptor_pool.Default()
    assert descriptor_pool.Default().FindMessageTypeByName(ours.full_name) is not ours


def test_tritonclients_bytes_are_read_by_ours():
    request = triton.ModelInferRequest(model_name="digits", id="7", raw_input_contents=[b"\x00\x01"])
    request.parameters["timeout"].int64_param = 5000
    request.inputs.add(name="image", datatype="BYTES", shape=[1])
    ours = messages.ModelInferRequest.FromString(request.SerializeToString())
    assert (ours.model_name, ours.id, list(ours.raw_input_contents)) == ("digits", "7", [b"\x00\x01"])
    assert ours.parameters["timeout"].int64_param == 5000
    assert ours.inputs[0].datatype == "BYTES"
