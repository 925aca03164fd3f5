"""How a case goes over each transport, and how its answer is read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import grpc
import numpy as np
import orjson

from beyond_serve.wire.bytes_tensor import encode_bytes
from beyond_serve.wire.messages import METHODS, ModelInferRequest
from tests.chaos.cases import Case, Reply
from tests.chaos.http_connection import HttpAnswer, HttpConnection, post

Parts = tuple[bytes, bytes]


class Sender(Protocol):
    """One way to send a case."""

    transport: str

    async def send(self, case: Case) -> Reply:
        """
        Raises:
            ConnectionError: the server closed the connection instead of answering.
        """


def predict_request(case: Case) -> Parts:
    """`POST /predict` with a case's only image."""
    query = f"model={case.model}&top_k=1"
    if case.timeout_ms:
        query += f"&timeout_ms={case.timeout_ms:g}"
    if case.priority:
        query += f"&priority={case.priority}"
    return post(f"/predict?{query}", case.images[0])


def infer_request(case: Case) -> Parts:
    """`POST /v2/…/infer` with the images as binary data, and binary outputs."""
    blob = encode_bytes(case.images)
    tensor = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [len(case.images)],
        "parameters": {"binary_data_size": len(blob)},
    }
    parameters = {"binary_data_output": True, **_parameters(case)}
    header = orjson.dumps({"inputs": [tensor], "parameters": parameters})
    path = f"/v2/models/{case.model}/infer"
    return post(path, header + blob, Inference_Header_Content_Length=str(len(header)))


def infer_message(case: Case, request_id: str = "") -> Any:
    message = ModelInferRequest(model_name=case.model, id=request_id)
    message.inputs.add(name="image", datatype="BYTES", shape=[len(case.images)])
    message.raw_input_contents.append(encode_bytes(case.images))
    for name, value in _parameters(case).items():
        message.parameters[name].int64_param = value
    return message


def _parameters(case: Case) -> dict[str, int]:
    parameters = {"timeout": round(case.timeout_ms * 1000), "priority": case.priority}
    return {name: value for name, value in parameters.items() if value}


def best(raw: bytes, count: int) -> tuple[int, ...]:
    """The best class of each of `count` rows of float32 scores."""
    return tuple(np.frombuffer(raw, np.float32).reshape(count, -1).argmax(axis=1).tolist())


def predict_reply(answer: HttpAnswer) -> Reply:
    document = orjson.loads(answer.body)
    if answer.status != 200:
        return Reply(document["error"]["code"], said=document["error"]["message"])
    return Reply("", (document["predictions"][0]["index"],))


def infer_reply(answer: HttpAnswer, case: Case) -> Reply:
    if answer.status != 200:
        return Reply(answer.headers["error-code"], said=orjson.loads(answer.body)["error"])
    size = int(answer.headers["inference-header-content-length"])
    return Reply("", best(answer.body[size:], len(case.images)))


class HttpPool:
    """Connections that are kept until the end, so that a late second answer is seen on one of them."""

    def __init__(self, host: str, port: int) -> None:
        self.all: list[HttpConnection] = []
        self.address = host, port
        self._idle: list[HttpConnection] = []

    async def take(self) -> HttpConnection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        connection = await HttpConnection.connect(*self.address)
        self.all.append(connection)
        return connection

    def give(self, connection: HttpConnection) -> None:
        self._idle.append(connection)

    @property
    def unasked(self) -> int:
        return sum(connection.unasked for connection in self.all)

    def close(self) -> None:
        for connection in self.all:
            connection.leave()


class PredictSender:
    """Single images to `/predict`; several are pipelined on /v2."""

    transport = "HTTP /predict"

    def __init__(self, pool: HttpPool) -> None:
        self._pool = pool

    async def send(self, case: Case) -> Reply:
        if len(case.images) > 1:
            return await Pipelined(self._pool).send(case)
        connection = await self._pool.take()
        answer = await connection.send(*predict_request(case))
        self._pool.give(connection)
        return predict_reply(answer)


class Pipelined:
    """A case's images as requests of their own on one connection, sent at once; answered in their order."""

    transport = "HTTP pipelined"

    def __init__(self, pool: HttpPool) -> None:
        self._pool = pool

    async def send(self, case: Case) -> Reply:
        connection = await self._pool.take()
        singles = [Case(case.kind, case.model, (i,), (), case.errors, case.timeout_ms) for i in case.images]
        answers = await asyncio.gather(*[connection.send(*predict_request(single)) for single in singles])
        self._pool.give(connection)
        replies = [predict_reply(answer) for answer in answers]
        failed = next((reply for reply in replies if reply.error), None)
        return failed or Reply("", tuple(reply.classes[0] for reply in replies))


class InferSender:
    transport = "HTTP /v2"

    def __init__(self, pool: HttpPool) -> None:
        self._pool = pool

    async def send(self, case: Case) -> Reply:
        connection = await self._pool.take()
        answer = await connection.send(*infer_request(case))
        self._pool.give(connection)
        return infer_reply(answer, case)


class HalfClosing:
    """A client that closes its half of the connection behind the request, and is answered all the same."""

    transport = "HTTP half-closed"

    def __init__(self, pool: HttpPool) -> None:
        self._pool = pool

    async def send(self, case: Case) -> Reply:
        connection = await self._pool.take()
        answer = connection.send(*infer_request(case))
        connection.finish_sending()
        return infer_reply(await answer, case)


class GrpcSender:
    """Unary calls. The deadline goes as the call's own where `as_deadline`, else as a parameter."""

    transport = "gRPC"

    def __init__(self, channel: grpc.aio.Channel, *, as_deadline: bool = False) -> None:
        self._as_deadline = as_deadline
        if as_deadline:
            self.transport = "gRPC deadline"
        self.call = channel.unary_unary(
            METHODS["ModelInfer"].path,
            request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=METHODS["ModelInfer"].response.FromString,
        )

    async def send(self, case: Case) -> Reply:
        message = infer_message(case)
        timeout_s = None
        if self._as_deadline:
            message.parameters.pop("timeout", None)
            timeout_s = case.deadline_s if case.has_deadline else None
        with _failures() as failed:
            answer = await self.call(message, timeout=timeout_s)
            return Reply("", best(answer.raw_output_contents[0], len(case.images)))
        return failed[0]


@contextmanager
def _failures() -> Iterator[list[Reply]]:
    """The reply that a call's error is, in a list."""
    failed: list[Reply] = []
    try:
        yield failed
    except grpc.aio.AioRpcError as error:
        trailers = dict(error.trailing_metadata() or ())
        # Without a code of the server's it is this machine's gRPC that gave up at the deadline, or broke.
        code = str(trailers.get("error-code") or error.code().name.lower())
        failed.append(Reply(code, said=error.details() or ""))
