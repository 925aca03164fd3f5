"""One request over either transport, of which answer and trace are seen, and which can be left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import grpc
import orjson
import psutil

from beyond_serve.wire.bytes_tensor import encode_bytes
from beyond_serve.wire.messages import METHODS, ModelInferRequest
from tests.chaos.http_connection import HttpAnswer, HttpConnection, post
from tests.chaos.victim import Samples, parse_metrics
from tests.end_to_end.serving import Server

PATIENCE_S = 20.0


class Outcome(NamedTuple):
    """How a request ended.

    Attributes:
        code: "ok", or the error's code as the server gave it.
        tensor: the output's bytes, empty for an error.
        trace: of the answer, empty for an error.
        said: the error's message.
        retry_after_s: as a full queue's answer gave it, 0 without.
    """

    code: str
    tensor: bytes = b""
    trace: Mapping[str, Any] = MappingProxyType({})
    said: str = ""
    retry_after_s: int = 0

    @property
    def release(self) -> str:
        return str(self.trace["batch"]["release"])

    @property
    def batch_size(self) -> int:
        return int(self.trace["batch"]["size"])


class Asker(Protocol):
    """One transport. A task that is cancelled while it asks leaves, as a client that goes away."""

    async def ask(
        self,
        model: str,
        image: bytes,
        *,
        timeout_ms: float = 0,
        priority: int = 0,
        deadline_s: float | None = None,
    ) -> Outcome:
        """
        Args:
            timeout_ms: the protocol's `timeout` parameter.
            deadline_s: gRPC's own deadline.
        """


class HttpAsker:
    """A connection for each request, on /v2 with binary data."""

    def __init__(self, server: Server) -> None:
        host, port = server.http.removeprefix("http://").split(":")
        self._address = host, int(port)

    async def ask(
        self,
        model: str,
        image: bytes,
        *,
        timeout_ms: float = 0,
        priority: int = 0,
        deadline_s: float | None = None,
    ) -> Outcome:
        assert deadline_s is None, "HTTP has no deadline of its own"
        blob = encode_bytes([image])
        given = {"name": "image", "datatype": "BYTES", "shape": [1]}
        header = orjson.dumps(
            {
                "inputs": [{**given, "parameters": {"binary_data_size": len(blob)}}],
                "parameters": {"binary_data_output": True, "trace": True, **_urgency(timeout_ms, priority)},
            }
        )
        path = f"/v2/models/{model}/infer"
        connection = await HttpConnection.connect(*self._address)
        try:
            async with asyncio.timeout(PATIENCE_S):
                request = post(path, header + blob, Inference_Header_Content_Length=str(len(header)))
                return _http_outcome(await connection.send(*request))
        finally:
            connection.leave()


def _urgency(timeout_ms: float, priority: int) -> dict[str, int]:
    both = {"timeout": round(timeout_ms * 1000), "priority": priority}
    return {name: value for name, value in both.items() if value}


def _http_outcome(answer: HttpAnswer) -> Outcome:
    if answer.status != 200:
        retry_after_s = int(answer.headers.get("retry-after", "0"))
        said = orjson.loads(answer.body)["error"]
        return Outcome(answer.headers["error-code"], said=said, retry_after_s=retry_after_s)
    size = int(answer.headers["inference-header-content-length"])
    return Outcome("ok", answer.body[size:], orjson.loads(answer.body[:size])["parameters"]["trace"])


class GrpcAsker:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._infer = channel.unary_unary(
            METHODS["ModelInfer"].path,
            request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=METHODS["ModelInfer"].response.FromString,
        )

    async def ask(
        self,
        model: str,
        image: bytes,
        *,
        timeout_ms: float = 0,
        priority: int = 0,
        deadline_s: float | None = None,
    ) -> Outcome:
        message = ModelInferRequest(model_name=model)
        message.inputs.add(name="image", datatype="BYTES", shape=[1])
        message.raw_input_contents.append(encode_bytes([image]))
        message.parameters["trace"].bool_param = True
        for name, value in _urgency(timeout_ms, priority).items():
            message.parameters[name].int64_param = value
        call = self._infer(message, timeout=deadline_s or PATIENCE_S)
        try:
            answer = await call
            trailers = dict(await call.trailing_metadata())
        except grpc.aio.AioRpcError as error:
            trailers = dict(error.trailing_metadata() or ())
            # Without the server's code the client itself gave up, which no test here wants.
            code = str(trailers.get("error-code", "none of the server's"))
            retry_after_s = int(trailers.get("retry-after", "0"))
            return Outcome(code, said=error.details() or "", retry_after_s=retry_after_s)
        finally:
            call.cancel()
        return Outcome("ok", answer.raw_output_contents[0], orjson.loads(trailers["trace"]))


@asynccontextmanager
async def asker(server: Server, transport: str) -> AsyncIterator[Asker]:
    """The asker of "http" or "grpc"."""
    if transport == "http":
        yield HttpAsker(server)
        return
    async with grpc.aio.insecure_channel(
        server.grpc, options=(("grpc.use_local_subchannel_pool", 1),)
    ) as channel:
        yield GrpcAsker(channel)


class Gauges:
    """What `/metrics` says of one model."""

    def __init__(self, server: Server, model: str) -> None:
        host, port = server.http.removeprefix("http://").split(":")
        self._address = host, int(port)
        self._model = model

    async def read(self) -> Samples:
        """Samples of this model by name, with the labels beside the model's."""
        connection = await HttpConnection.connect(*self._address)
        try:
            answer = await connection.send(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n")
        finally:
            connection.leave()
        samples = parse_metrics(answer.body.decode())
        mine = {name: n for name, n in samples.items() if f'model="{self._model}"' in name}
        return {
            name.replace(f'model="{self._model}",', "").replace(f'{{model="{self._model}"}}', ""): n
            for name, n in mine.items()
        }

    async def leave_in_mid_body(self) -> None:
        """Announce an image for the model, send some of it and close, until the server has closed too."""
        head, _ = post(f"/v2/models/{self._model}/infer", bytes(1000))
        connection = await HttpConnection.connect(*self._address)
        connection.push(head, bytes(10))
        connection.finish_sending()
        async with asyncio.timeout(PATIENCE_S):
            await connection.closed

    async def until(self, wanted: Callable[[Samples], bool]) -> Samples:
        """Wait until the metrics are as `wanted`; fails when they do not become so."""
        samples: Samples = {}
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not wanted(samples := await self.read()):
                    pass
        except TimeoutError:
            told = {name: n for name, n in samples.items() if "_bucket" not in name and "stage_" not in name}
            raise AssertionError(f"the metrics never became as wanted: {told}") from None
        return samples


def only_instance(server: Server) -> psutil.Process:
    """The one child process that runs a model."""
    children = psutil.Process(server.process.pid).children()
    (found,) = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    return found


@contextmanager
def standing_still(process: psutil.Process) -> Iterator[None]:
    """Inside, the process is stopped: what it was given to run is running for as long as a test likes."""
    process.suspend()
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def started(*requests: Any) -> list[asyncio.Task[Outcome]]:
    return [asyncio.ensure_future(request) for request in requests]


async def leave(*tasks: asyncio.Task[Outcome]) -> None:
    """Let these clients go away, and wait until they have."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
