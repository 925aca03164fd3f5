"""ModelStreamInfer: a stream of independent requests, each answered as soon as it has finished.

Source: triton-inference-server, ModelStreamInfer; an error concerns its own request and leaves the
stream open. Every answer is its request's only one and says so (`triton_final_response`). An error's code
is the parameter `error_code` of the answer that names its request.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

from grpc.aio import EOF

from beyond_serve.errors import BeyondError, InvalidRequestError, QueueFullError, ShuttingDownError
from beyond_serve.server.error_table import error_code, grpc_details
from beyond_serve.server.grpc.caller import grpc_caller
from beyond_serve.server.grpc.codec import decode_message, encode_response
from beyond_serve.server.grpc.router import Rpc
from beyond_serve.server.grpc.status import log, set_error
from beyond_serve.server.grpc.unary_infer import InferRoute, deadline_us
from beyond_serve.server.oip.infer import Inference
from beyond_serve.wire.messages import ModelInferRequest, ModelStreamInferResponse
from beyond_serve.wire.oip import InferResponse

MAX_IN_FLIGHT: Final = 128
"""Requests of one stream that were read and whose answer is not written; beyond it the stream is not
read. An invented number: some batches of the largest usual size."""

# A stream has trailing metadata only at its end, so each answer carries what theirs say of unary calls.
ERROR_CODE: Final = "error_code"
RETRY_AFTER: Final = "retry_after"


class StreamInfer(Rpc):
    """Answers the streams; the state of each is an `_Stream`.

    Args:
        closing: set when the server stops: streams then read no more, answer what they read, and end.
    """

    request_streaming = True
    response_streaming = True

    def __init__(self, route: InferRoute, closing: asyncio.Event, max_in_flight: int = MAX_IN_FLIGHT) -> None:
        self._route = route
        self._closing = closing
        self._max_in_flight = max_in_flight

    async def stream_stream(self, _requests: Any, context: Any) -> None:
        stream = _Stream(self._route, context, self._max_in_flight)
        closed = asyncio.ensure_future(self._closing.wait())
        closed.add_done_callback(lambda _task: stream.reader.cancel())
        try:
            await stream.write_answers()
            if stream.reader.cancelled():  # It had not come to the client's end of the stream.
                set_error(context, ShuttingDownError("the server stops", "open the stream again elsewhere"))
        finally:
            closed.cancel()
            stream.leave()


class _Answer(NamedTuple):
    """How one request ended; `inference` is None if it was refused before it started."""

    inference: Inference | None
    request_id: str
    result: InferResponse | BaseException


class _Stream:
    """One stream. A reading task starts inferences, the handler's own writes what they answered.

    `room` has a place for each request from where it is read to where its answer is written.
    Guarantee: an inference that was started is told `replied` or `cancel` exactly once.
    """

    def __init__(self, route: InferRoute, context: Any, max_in_flight: int) -> None:
        self._route = route
        self._context = context
        self._metadata = context.invocation_metadata() or ()
        self._room = asyncio.Semaphore(max_in_flight)
        self._open: set[Inference] = set()
        self._answers: asyncio.Queue[_Answer | None] = asyncio.Queue()
        self.reader = asyncio.ensure_future(self._read())
        self.reader.add_done_callback(lambda _task: self._end_if_idle())

    async def write_answers(self) -> None:
        """Write until the client has sent its last request and has the last answer."""
        while (answer := await self._answers.get()) is not None:
            try:
                await self._context.write(_serialized(answer))
            finally:
                self._replied(answer)
            self._room.release()
            self._end_if_idle()
        if not self.reader.cancelled():
            await self.reader

    def leave(self) -> None:
        """The stream is over, however it ended: nobody is left to answer."""
        self.reader.cancel()
        for inference in self._open:
            inference.cancel()
        self._open.clear()
        while not self._answers.empty():
            self._replied(self._answers.get_nowait())

    def _replied(self, answer: _Answer | None) -> None:
        if answer is not None and answer.inference is not None:
            error = None if isinstance(answer.result, InferResponse) else answer.result
            caller = grpc_caller(self._metadata, "ModelStreamInfer", error)
            answer.inference.replied(self._route.clock(), caller)

    async def _read(self) -> None:
        while True:
            await self._room.acquire()
            serialized = await self._context.read()
            if serialized is EOF:
                return
            self._begin(serialized)

    def _end_if_idle(self) -> None:
        if self.reader.done() and not self._open and self._answers.empty():
            self._answers.put_nowait(None)

    def _begin(self, serialized: bytes) -> None:
        """Start one request. gRPC announces a stream's messages only when they are whole."""
        now_ns = self._route.clock()
        try:
            inference, request_id, _ = self._route.preparer.prepare(serialized)
        except Exception as error:  # To the client a message, never a stack.
            self._answers.put_nowait(_Answer(None, _id_of(serialized), error))
            return
        self._open.add(inference)
        inference.start(
            started_ns=now_ns,
            received_ns=now_ns,
            on_done=lambda result: self._answered(_Answer(inference, request_id, result)),
            timeout_us=deadline_us(self._context, now_ns, now_ns),
        )

    def _answered(self, answer: _Answer) -> None:
        # Called while a batch's requests are told their results: encoding, which may fail, is for later.
        if answer.inference is not None:
            self._open.discard(answer.inference)
        self._answers.put_nowait(answer)


def _id_of(serialized: bytes) -> str:
    """The id of a request whose contents were refused, if it is a message at all."""
    try:
        return str(decode_message(ModelInferRequest, serialized).id)
    except InvalidRequestError:
        return ""


def _serialized(answer: _Answer) -> bytes:
    error = answer.result
    if isinstance(error, InferResponse):
        try:
            return _success(error)
        except Exception as raised:
            error = raised
    return _failure(answer.request_id, error)


def _success(response: InferResponse) -> bytes:
    message = encode_response(response)
    message.parameters["triton_final_response"].bool_param = True
    return bytes(ModelStreamInferResponse(infer_response=message).SerializeToString())


def _failure(request_id: str, error: BaseException) -> bytes:
    """The answer beside the message says which request failed, and with which of the errors' codes."""
    if not isinstance(error, BeyondError):
        log.error("a request of a gRPC stream failed", exc_info=error)
    message = ModelStreamInferResponse(error_message=grpc_details(error))
    message.infer_response.id = request_id
    parameters = message.infer_response.parameters
    parameters[ERROR_CODE].string_param = error_code(error)
    if isinstance(error, QueueFullError):
        parameters[RETRY_AFTER].int64_param = error.retry_after_s
    parameters["triton_final_response"].bool_param = True
    return bytes(message.SerializeToString())
