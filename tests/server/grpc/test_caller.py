"""Whom a span sink is told of, over gRPC."""

from __future__ import annotations

import pytest

from beyond_serve import errors
from tests.server.grpc.test_unary_infer import image_request

PARENT = f"00-{1:032x}-{2:016x}-01"
METADATA = (("traceparent", PARENT), ("tracestate", "a=1"))


async def caller_of(server, model):
    """Of the only call; known once the server has no call open any more."""
    await server.stop(20)
    (call,) = model.replied
    return call.caller


async def test_nobody_without_a_traceparent(server, client, model):
    await client.call("ModelInfer", image_request(b"a"), metadata=(("tracestate", "a=1"),))
    assert await caller_of(server, model) is None


async def test_the_metadata_and_the_status(server, client, model):
    await client.call("ModelInfer", image_request(b"a"), metadata=METADATA)
    caller = await caller_of(server, model)
    assert (caller.traceparent, caller.tracestate, caller.fault) == (PARENT, "a=1", False)
    assert caller.span == "inference.GRPCInferenceService/ModelInfer"
    assert caller.attributes == {
        "rpc.system": "grpc",
        "rpc.service": "inference.GRPCInferenceService",
        "rpc.method": "ModelInfer",
        "rpc.grpc.status_code": 0,
    }


@pytest.mark.parametrize(
    ("error", "status", "fault"),
    [(errors.ImageDecodeError("bad"), 3, False), (errors.EngineError("bad"), 13, True)],
)
async def test_an_error(server, client, model, error, status, fault):
    model.error = error
    await client.error("ModelInfer", image_request(b"a"), metadata=METADATA)
    caller = await caller_of(server, model)
    assert (caller.attributes["rpc.grpc.status_code"], caller.fault) == (status, fault)


async def test_an_answer_that_cannot_be_written_is_the_servers_fault(server, client, model, monkeypatch):
    monkeypatch.setattr("beyond_serve.server.grpc.response_writer.ResponseWriter.write", lambda *_: [].pop())
    await client.error("ModelInfer", image_request(b"a"), metadata=METADATA)
    caller = await caller_of(server, model)
    assert (caller.attributes["rpc.grpc.status_code"], caller.fault) == (13, True)


async def test_a_streams_caller_is_each_requests(server, client, model):
    stream = client.stream(metadata=METADATA)
    await stream.write(image_request(b"x"))
    await stream.read()
    await stream.done_writing()
    caller = await caller_of(server, model)
    assert caller.traceparent == PARENT
    assert caller.attributes["rpc.method"] == "ModelStreamInfer"
