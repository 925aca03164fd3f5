"""ModelStreamInfer: answers as they finish, errors beside them, bounded, ended cleanly."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from beyond_serve.errors import EngineError, PayloadTooLargeError, QueueFullError
from beyond_serve.server.grpc.stream_infer import StreamInfer
from beyond_serve.server.grpc.unary_infer import InferRoute
from beyond_serve.server.oip.shared_memory import RegionTable
from tests.server.grpc.test_unary_infer import image_request


def parameters_of(answer):
    return answer.infer_response.parameters


async def test_every_request_is_answered_and_the_stream_ends(client, model):
    stream = client.stream()
    for number in range(5):
        await stream.write(image_request(b"x", id=str(number)))
    await stream.done_writing()
    answers = [answer async for answer in stream]
    assert [answer.infer_response.id for answer in answers] == list("01234")
    assert all(answer.infer_response.parameters["triton_final_response"].bool_param for answer in answers)
    assert all(len(answer.infer_response.raw_output_contents) == 1 for answer in answers)
    assert await stream.code() is grpc.StatusCode.OK
    assert len(model.replied) == 5


async def test_an_error_is_its_requests_own(client, model):
    stream = client.stream()
    wrong = image_request(b"x", id="wrong")
    wrong.inputs[0].name = "nope"
    mixed = image_request(b"x", id="mixed")
    mixed.raw_input_contents.append(b"")
    await stream.write(wrong)
    await stream.write(mixed)
    await stream.write(image_request(b"x", id="right"))
    await stream.done_writing()
    answers = {answer.infer_response.id: answer async for answer in stream}
    assert "nope" in answers["wrong"].error_message
    assert "raw_input_contents" in answers["mixed"].error_message
    assert answers["right"].error_message == ""
    assert parameters_of(answers["wrong"])["error_code"].string_param == "invalid_request"
    assert parameters_of(answers["mixed"])["error_code"].string_param == "invalid_request"
    assert "error_code" not in parameters_of(answers["right"])


async def test_a_failure_of_the_model_names_its_request(client, model):
    model.error = EngineError("it broke", "mend it")
    stream = client.stream()
    await stream.write(image_request(b"x", id="9"))
    answer = await stream.read()
    assert (answer.infer_response.id, answer.error_message) == ("9", "it broke; mend it")
    stream.cancel()


@pytest.mark.parametrize(
    ("error", "code", "retry_after"),
    [
        (QueueFullError("full", retry_after_s=3), "queue_full", 3),
        (PayloadTooLargeError("too large"), "payload_too_large", 0),
        (RuntimeError("a secret"), "internal", 0),
    ],
)
async def test_an_errors_code_is_told_apart_without_its_words(client, model, error, code, retry_after):
    model.error = error
    stream = client.stream()
    await stream.write(image_request(b"x", id="9"))
    answer = await stream.read()
    stream.cancel()
    said = parameters_of(answer)
    assert answer.infer_response.id == "9"
    assert isinstance(answer.error_message, str)
    assert "secret" not in answer.error_message
    assert (said["error_code"].string_param, said["triton_final_response"].bool_param) == (code, True)
    assert ("retry_after" in said, said["retry_after"].int64_param) == (retry_after > 0, retry_after)


async def test_answers_come_in_the_order_in_which_they_finish(client, model):
    model.hold, model.arrived = True, asyncio.Event()
    stream = client.stream()
    for request_id in ("first", "second"):
        await stream.write(image_request(b"x", id=request_id))
        await model.arrived.wait()
        model.arrived.clear()
    model.finish(model.open[1])
    assert (await stream.read()).infer_response.id == "second"
    model.finish()
    assert (await stream.read()).infer_response.id == "first"
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF


async def test_a_client_that_leaves_cancels_what_it_asked_for(client, model):
    model.hold, model.arrived = True, asyncio.Event()
    stream = client.stream()
    for _ in range(2):
        await stream.write(image_request(b"x"))
        await model.arrived.wait()
        model.arrived.clear()
    stream.cancel()
    while len(model.cancelled) < 2:
        await model.arrived.wait()
        model.arrived.clear()
    assert not model.open


async def test_stopping_answers_what_was_read_and_ends_the_stream(server, client, model):
    model.hold, model.arrived = True, asyncio.Event()
    stream = client.stream()
    await stream.write(image_request(b"x", id="accepted"))
    await model.arrived.wait()
    stopping = asyncio.ensure_future(server.stop(20))
    await asyncio.sleep(0)
    model.finish()
    assert (await stream.read()).infer_response.id == "accepted"
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.read()
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert await stopping
    assert len(model.replied) == 1


class FakeContext:
    """A stream whose messages lie ready; `written` counts, and `gate` holds up the client's reading."""

    def __init__(self, messages):
        self.messages = list(messages)
        self.read_count = 0
        self.written = []
        self.gate = asyncio.Event()
        self.waiting = asyncio.Event()

    async def read(self):
        if not self.messages:
            return grpc.aio.EOF
        self.read_count += 1
        return self.messages.pop(0)

    async def write(self, message):
        self.waiting.set()
        await self.gate.wait()
        self.written.append(message)

    def time_remaining(self):
        return None

    def invocation_metadata(self):
        return ()


async def test_a_stream_that_does_not_read_its_answers_is_not_read(repository, model):
    context = FakeContext([image_request(b"x").SerializeToString()] * 10)
    rpc = StreamInfer(InferRoute(repository, RegionTable()), asyncio.Event(), max_in_flight=3)
    running = asyncio.ensure_future(rpc.stream_stream(None, context))
    await context.waiting.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert context.read_count == 3
    context.gate.set()
    await running
    assert context.read_count == len(context.written) == len(model.replied) == 10


async def test_a_write_that_fails_leaves_no_call_open(repository, model):
    class Broken(FakeContext):
        async def write(self, message):
            raise ConnectionError("gone")

    context = Broken([image_request(b"x").SerializeToString()] * 4)
    rpc = StreamInfer(InferRoute(repository, RegionTable()), asyncio.Event())
    with pytest.raises(ConnectionError):
        await rpc.stream_stream(None, context)
    assert len(model.replied) == len(model.given)
