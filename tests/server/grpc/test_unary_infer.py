"""ModelInfer over a real connection: answers, errors, deadlines, cancellation, trace."""

from __future__ import annotations

import asyncio
import json

import grpc
import numpy as np
import pytest

from beyond_serve import errors
from beyond_serve.batching import STAGES
from beyond_serve.server.error_table import grpc_code
from beyond_serve.wire.bytes_tensor import encode_bytes
from beyond_serve.wire.messages import METHODS, ModelInferRequest
from tests.server.grpc.conftest import connected, serving


def image_request(*images, **fields):
    request = ModelInferRequest(model_name="digits", **fields)
    request.inputs.add(name="image", datatype="BYTES", shape=[len(images)])
    request.raw_input_contents.append(encode_bytes(images))
    return request


async def test_images_are_answered_with_raw_scores(client, model):
    answer = await client.call("ModelInfer", image_request(b"a", b"bc", id="7"))
    assert (answer.model_name, answer.model_version, answer.id) == ("digits", "1", "7")
    output = answer.outputs[0]
    assert (output.name, output.datatype, list(output.shape)) == ("scores", "FP32", [2, 3])
    scores = np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(2, 3)
    np.testing.assert_array_equal(scores, [[0, 0.5, 0.25], [1, 1.5, 1.25]])
    assert model.given == [[b"a", b"bc"]]


async def test_a_call_is_replied_exactly_once(server, client, model):
    await client.call("ModelInfer", image_request(b"a"))
    await client.call("ModelInfer", image_request(b"b"))
    await server.stop(20)
    assert len(model.replied) == 2
    assert not model.cancelled
    for call in model.replied:
        trace = call.requests[0].trace
        assert trace.started <= trace.received <= trace.replied


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidRequestError("bad", "mend"),
        errors.PayloadTooLargeError("large"),
        errors.UnsupportedImageError("no image"),
        errors.ImageDecodeError("damaged"),
        errors.DeadlineExceededError("late"),
        errors.ShuttingDownError("stops"),
        errors.InstanceLostError("lost"),
        errors.EngineError("failed"),
    ],
    ids=lambda error: error.code,
)
async def test_an_error_has_the_tables_code_and_says_what_to_do(client, model, error):
    model.error = error
    failure = await client.error("ModelInfer", image_request(b"a"))
    assert failure.code().name == grpc_code(error)
    expected = f"{error.message}; {error.hint}" if error.hint else error.message
    assert failure.details() == expected
    assert failure.trailing_metadata()["error-code"] == error.code
    assert failure.trailing_metadata().get("retry-after") is None


async def test_a_full_queue_says_when_to_come_again(client, model):
    model.error = errors.QueueFullError("full", "wait", retry_after_s=3)
    failure = await client.error("ModelInfer", image_request(b"a"))
    assert failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert failure.trailing_metadata()["retry-after"] == "3"
    assert failure.trailing_metadata()["error-code"] == "queue_full"


async def test_an_unknown_error_tells_the_client_nothing(client, repository, caplog):
    def broken(_name, _version=""):
        raise RuntimeError("secret insides")

    repository.get = broken
    failure = await client.error("ModelInfer", image_request(b"a"))
    assert failure.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in failure.details()
    assert failure.trailing_metadata()["error-code"] == "internal"
    assert "secret insides" in caplog.text


async def test_bytes_that_are_no_message_are_the_clients_fault(client):
    rpc = client.channel.unary_unary(METHODS["ModelInfer"].path)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await rpc(b"\xff\xff\xff")
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_unknown_model_is_not_found(client):
    failure = await client.error("ModelInfer", ModelInferRequest(model_name="nope"))
    assert failure.code() is grpc.StatusCode.NOT_FOUND


async def test_a_message_over_the_limit_is_refused_and_the_connection_serves_on(repository):
    async with serving(repository, max_message_bytes=10_000) as server, connected(server) as client:
        failure = await client.error("ModelInfer", image_request(bytes(10_001)))
        assert failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await client.call("ModelInfer", image_request(bytes(9_000)))


async def test_without_a_deadline_the_model_is_given_none(client, model):
    await client.call("ModelInfer", image_request(b"a"))
    assert model.timeouts_us == [0]


async def test_the_clients_deadline_becomes_the_requests_timeout(client, model):
    await client.call("ModelInfer", image_request(b"a"), timeout=50)
    # gRPC sends three digits of the time left, rounded up.
    assert 0 < model.timeouts_us[0] <= 51_000_000


async def test_the_earlier_of_deadline_and_timeout_parameter_holds(client, model):
    request = image_request(b"a")
    request.parameters["timeout"].int64_param = 1_000_000
    request.parameters["priority"].uint64_param = 2
    await client.call("ModelInfer", request, timeout=50)
    request.parameters["timeout"].int64_param = 80_000_000
    await client.call("ModelInfer", request, timeout=50)
    assert model.timeouts_us[0] == 1_000_000
    assert 1_000_000 < model.timeouts_us[1] <= 51_000_000
    assert model.priorities == [2, 2]


async def test_a_cancelled_call_cancels_the_models_call_at_once(client, model):
    model.hold, model.arrived = True, asyncio.Event()
    call = client.call("ModelInfer", image_request(b"a"))
    await model.arrived.wait()
    model.arrived.clear()
    call.cancel()
    await model.arrived.wait()
    assert len(model.cancelled) == 1
    assert model.cancelled[0].cancelled
    assert not model.replied


async def test_a_deadline_that_passes_cancels_the_models_call(client, model):
    model.hold, model.arrived = True, asyncio.Event()
    waiting = asyncio.ensure_future(client.error("ModelInfer", image_request(b"a"), timeout=0.05))
    await model.arrived.wait()
    model.arrived.clear()
    assert (await waiting).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await model.arrived.wait()
    assert len(model.cancelled) == 1


async def test_an_answer_that_comes_later_is_delivered(client, model):
    model.hold, model.arrived = True, asyncio.Event()
    call = client.call("ModelInfer", image_request(b"a"))
    await model.arrived.wait()
    model.finish()
    assert len((await call).raw_output_contents) == 1


@pytest.mark.parametrize("asked", ["metadata", "parameter"])
async def test_a_trace_comes_as_trailing_metadata_when_asked_for(client, asked):
    request = image_request(b"a")
    metadata = None
    if asked == "parameter":
        request.parameters["trace"].bool_param = True
    else:
        metadata = (("x-trace", "1"),)
    call = client.call("ModelInfer", request, metadata=metadata)
    await call
    trailing = await call.trailing_metadata()
    timing = trailing["server-timing"]
    names = [part.split(";")[0].strip() for part in timing.split(",")]
    assert names[0] == "receive"
    assert names[-2:] == ["reply", "total"]
    trace = json.loads(trailing["trace"])
    assert tuple(trace["stages_us"]) == STAGES
    assert trace["batch"] == {"size": 1, "release": "idle"}
    assert {"total_us", "residual_us", "instance", "simulated"} <= trace.keys()


async def test_no_trace_unasked(client):
    call = client.call("ModelInfer", image_request(b"a"))
    await call
    assert not {"server-timing", "trace"} & dict(await call.trailing_metadata()).keys()


async def test_a_failed_request_is_traced_too(client, model):
    model.error = errors.ImageDecodeError("damaged")
    failure = await client.error("ModelInfer", image_request(b"a"), metadata=(("x-trace", "1"),))
    assert "total;dur=" in failure.trailing_metadata()["server-timing"]
