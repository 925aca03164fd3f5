"""grpc.health.v1 by its own client stubs."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from beyond_serve.server.grpc.health import Health

Status = health_pb2.HealthCheckResponse
SERVICE = "inference.GRPCInferenceService"


@pytest.fixture
def stub(client):
    return health_pb2_grpc.HealthStub(client.channel)


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_check_follows_readiness(stub, repository, service):
    request = health_pb2.HealthCheckRequest(service=service)
    assert (await stub.Check(request)).status == Status.SERVING
    repository.ready = False
    assert (await stub.Check(request)).status == Status.NOT_SERVING


async def test_an_unknown_service_is_not_found(stub):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.Check(health_pb2.HealthCheckRequest(service="nope"))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert raised.value.trailing_metadata()["error-code"] == "not_found"
    assert "nope" in raised.value.details()


async def test_watch_says_the_status_and_each_change(stub, server, repository):
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == Status.SERVING
    repository.ready = False
    server._health.refresh()
    assert (await watch.read()).status == Status.NOT_SERVING
    repository.ready = True
    server._health.refresh()
    assert (await watch.read()).status == Status.SERVING
    watch.cancel()


async def test_watching_an_unknown_service_is_no_error(stub):
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="nope"))
    assert (await watch.read()).status == Status.SERVICE_UNKNOWN
    watch.cancel()


async def test_stopping_tells_watchers_and_does_not_wait_for_them(stub, server):
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    await watch.read()
    assert await server.stop(20)
    assert (await watch.read()).status == Status.NOT_SERVING
    assert await watch.read() is grpc.aio.EOF


async def test_readiness_is_asked_again_only_while_somebody_watches():
    health = Health(lambda: True)
    written = asyncio.Queue()
    assert health._timer is None
    watching = asyncio.ensure_future(health.watch("", written.put))
    await written.get()
    assert health._timer is not None
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert health._timer is None
