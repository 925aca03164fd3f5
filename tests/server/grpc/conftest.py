"""A gRPC server over fakes on a port of its own, and real clients of it."""

from __future__ import annotations

from contextlib import asynccontextmanager

import grpc
import pytest

from beyond_serve.server.grpc.options import GrpcOptions
from beyond_serve.server.grpc.server import GrpcServer
from beyond_serve.server.oip.shared_memory import RegionTable
from beyond_serve.wire.messages import METHODS
from tests.server.grpc.fakes import FakeModel, FakeRepository


class Client:
    """Calls the service's methods by name with our own messages, as any generated stub would."""

    def __init__(self, channel):
        self.channel = channel

    def call(self, name, request=None, **options):
        """The call object; awaiting it gives the answer."""
        method = METHODS[name]
        rpc = self.channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return rpc(request if request is not None else method.request(), **options)

    async def error(self, name, request=None, **options):
        """The error that a call ends with; fails if it succeeds."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.call(name, request, **options)
        return raised.value

    def stream(self, **options):
        method = METHODS["ModelStreamInfer"]
        rpc = self.channel.stream_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return rpc(**options)


@asynccontextmanager
async def serving(repository, regions=None, stopping=lambda: False, **options):
    """A started server; stopped without grace at the end."""
    server = GrpcServer(GrpcOptions(port=0, **options), repository, regions or RegionTable(), stopping)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


@asynccontextmanager
async def connected(server):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Client(channel)


@pytest.fixture
def model():
    return FakeModel()


@pytest.fixture
def repository(model):
    return FakeRepository(model)


@pytest.fixture
async def server(repository):
    async with serving(repository) as server:
        yield server


@pytest.fixture
async def client(server):
    async with connected(server) as client:
        yield client
