"""Reflection shows exactly what is served."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc


@pytest.fixture
async def ask(client):
    stream = reflection_pb2_grpc.ServerReflectionStub(client.channel).ServerReflectionInfo()

    async def ask(**request):
        await stream.write(reflection_pb2.ServerReflectionRequest(**request))
        return await stream.read()

    yield ask
    stream.cancel()


async def test_the_services_are_listed(ask):
    answer = await ask(list_services="")
    assert [service.name for service in answer.list_services_response.service] == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    ]


async def test_every_listed_service_can_be_described(ask):
    listed = await ask(list_services="")
    for service in listed.list_services_response.service:
        answer = await ask(file_containing_symbol=service.name)
        files = [
            descriptor_pb2.FileDescriptorProto.FromString(raw)
            for raw in answer.file_descriptor_response.file_descriptor_proto
        ]
        names = [f"{file.package}.{s.name}" for file in files for s in file.service]
        assert service.name in names


async def test_what_is_not_served_is_not_found(ask):
    assert (await ask(file_containing_symbol="google.protobuf.Any")).error_response.error_code == 5


async def test_an_open_stream_does_not_hold_up_the_shutdown(server, ask):
    await ask(list_services="")
    assert await server.stop(20)
