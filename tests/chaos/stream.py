"""A gRPC stream: many requests on one call, whose answers come in any order and name their request."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import grpc

from beyond_serve.wire.messages import METHODS
from tests.chaos.cases import Case, Reply
from tests.chaos.senders import best, infer_message

_STREAM = METHODS["ModelStreamInfer"]
_END_S = 5.0


class StreamSender:
    """State: the requests that wait, by id.

    Attributes:
        unasked: answers to no open request: second ones, or to nobody.
    """

    transport = "gRPC stream"

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.unasked = 0
        self._ids = itertools.count(1)
        self._open: dict[str, tuple[Case, asyncio.Future[Reply]]] = {}
        self._call: Any = channel.stream_stream(
            _STREAM.path,
            request_serializer=_STREAM.request.SerializeToString,
            response_deserializer=_STREAM.response.FromString,
        )()
        self._reader = asyncio.ensure_future(self._read())
        self._writing = asyncio.Lock()

    async def send(self, case: Case) -> Reply:
        request_id = str(next(self._ids))
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._open[request_id] = case, reply
        async with self._writing:
            await self._call.write(infer_message(case, request_id))
        return await reply

    async def close(self) -> None:
        """End the stream as a client does that has asked all it wanted. The server ends it when it has
        answered all, so not before long where it has lost a request."""
        await self._call.done_writing()
        try:
            async with asyncio.timeout(_END_S):
                await self._reader
        except TimeoutError:
            self._call.cancel()

    async def _read(self) -> None:
        try:
            while (answer := await self._call.read()) is not grpc.aio.EOF:
                self._take(answer)
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
            for _, reply in self._open.values():
                if not reply.done():
                    reply.set_exception(ConnectionResetError(f"the stream broke: {error!r}"))

    def _take(self, answer: Any) -> None:
        case, reply = self._open.pop(answer.infer_response.id, (None, None))
        if case is None or reply is None:
            self.unasked += 1
        elif reply.done():
            return  # Its sender has given up, and has said so.
        elif answer.error_message:
            reply.set_result(Reply(code_of(answer.error_message), said=answer.error_message))
        else:
            classes = best(answer.infer_response.raw_output_contents[0], len(case.images))
            reply.set_result(Reply("", classes))


_SAYINGS = (
    ("ONNX Runtime failed", "engine"),
    ("is full", "queue_full"),
    ("deadline", "deadline_exceeded"),
    ("instance", "instance_lost"),
    ("truncated", "image_decode"),
    ("empty", "unsupported_image"),
    ("header says", "payload_too_large"),
    ("image", "unsupported_image"),
)


def code_of(message: str) -> str:
    """A stream's errors come as sentences, without codes: what this one says."""
    return next((code for words, code in _SAYINGS if words in message), "unknown")
