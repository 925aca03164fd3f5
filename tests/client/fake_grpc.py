"""The fake over gRPC, by grpc.aio's server with generic handlers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from beyond_serve.errors import BeyondError, InvalidRequestError, ModelNotFoundError, QueueFullError
from beyond_serve.wire.messages import METHODS, SERVICE
from tests.client.fake_server import (
    STATISTICS,
    FakeModel,
    bytes_tensor,
    split_bytes_tensor,
    trace_document,
)

STATUS = {
    "invalid_request": grpc.StatusCode.INVALID_ARGUMENT,
    "unauthorized": grpc.StatusCode.UNAUTHENTICATED,
    "model_not_found": grpc.StatusCode.NOT_FOUND,
    "payload_too_large": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "unsupported_image": grpc.StatusCode.INVALID_ARGUMENT,
    "image_decode": grpc.StatusCode.INVALID_ARGUMENT,
    "queue_full": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "engine": grpc.StatusCode.INTERNAL,
    "shutting_down": grpc.StatusCode.UNAVAILABLE,
    "instance_lost": grpc.StatusCode.UNAVAILABLE,
    "deadline_exceeded": grpc.StatusCode.DEADLINE_EXCEEDED,
}

_Answer = Callable[[FakeModel, Any, Any], Awaitable[Any]]


@asynccontextmanager
async def serve_grpc(
    model: FakeModel, tls: tuple[bytes, bytes] | None = None, **_: Any
) -> AsyncIterator[str]:
    """`tls` is (private key, certificate chain) in PEM."""
    server = grpc.aio.server()
    handlers = {name: _handler(model, name, answer) for name, answer in _ANSWERS.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    if tls is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([tls]))
    await server.start()
    try:
        yield f"{'grpcs' if tls else 'grpc'}://127.0.0.1:{port}"
    finally:
        await server.stop(None)


def _handler(model: FakeModel, name: str, answer: _Answer) -> Any:
    method = METHODS[name]

    async def handle(request: Any, context: Any) -> Any:
        try:
            model.authorize(dict(context.invocation_metadata()).get("authorization"))
            return await answer(model, request, context)
        except BeyondError as error:
            context.set_code(STATUS[error.code])
            context.set_details(f"{error.message}; {error.hint}" if error.hint else error.message)
            trailing = [("error-code", error.code)]
            if isinstance(error, QueueFullError):
                trailing.append(("retry-after", str(error.retry_after_s)))
            context.set_trailing_metadata(tuple(trailing))
            return method.response()

    return grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=method.request.FromString,
        response_serializer=method.response.SerializeToString,
    )


async def _infer(model: FakeModel, request: Any, context: Any) -> Any:
    name = model.named(request.model_name)
    response = METHODS["ModelInfer"].response(model_name=name)
    parameters = {key: value.int64_param for key, value in request.parameters.items()}
    if "top_k" in parameters:
        await _classify(model, request, response, parameters)
    else:
        await model.enter(**parameters)
        _echo(request, response)
    if dict(context.invocation_metadata()).get("x-trace") == "1":
        context.set_trailing_metadata((("trace", json.dumps(trace_document())),))
    return response


async def _classify(model: FakeModel, request: Any, response: Any, parameters: dict[str, int]) -> None:
    (tensor,), (raw,) = request.inputs, request.raw_input_contents
    images = split_bytes_tensor(raw)
    top_k = parameters.pop("top_k")
    asked = {"images": images, "model": request.model_name, "top_k": str(top_k), **parameters}
    await model.enter(**asked)
    if (tensor.name, tensor.datatype, list(tensor.shape)) != ("image", "BYTES", [len(images)]):
        raise InvalidRequestError("the input is not image BYTES [n]")
    if request.outputs:
        raise InvalidRequestError("outputs are asked for beside top_k")
    elements = [
        f"{score}:{index}" + ("" if label is None else f":{label}")
        for image in images
        for score, index, label in model.classify(image, top_k)
    ]
    shape = [len(images), len(elements) // len(images)]
    response.outputs.add(name="logits", datatype="BYTES", shape=shape)
    response.raw_output_contents.append(bytes_tensor([element.encode() for element in elements]))


def _echo(request: Any, response: Any) -> None:
    wanted = [output.name for output in request.outputs]
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        if wanted and tensor.name not in wanted:
            continue
        response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if tensor.datatype == "BYTES":
            raw = bytes_tensor([element[::-1] for element in split_bytes_tensor(raw)])  # noqa: PLW2901
        response.raw_output_contents.append(raw)
    if not response.outputs:
        raise InvalidRequestError("0 outputs")


async def _metadata(model: FakeModel, request: Any, context: Any) -> Any:
    answer = METHODS["ModelMetadata"].response(
        name=model.named(request.name), versions=["1"], platform="fake"
    )
    answer.inputs.add(name="image", datatype="BYTES", shape=[-1])
    answer.outputs.add(name="logits", datatype="FP32", shape=[-1, 3])
    return answer


async def _statistics(model: FakeModel, request: Any, context: Any) -> Any:
    model.named(request.name)
    return METHODS["ModelStatistics"].response(model_stats=[STATISTICS])


async def _ready(model: FakeModel, request: Any, context: Any) -> Any:
    return METHODS["ServerReady"].response(ready=all(model.loaded.values()))


async def _model_ready(model: FakeModel, request: Any, context: Any) -> Any:
    return METHODS["ModelReady"].response(ready=model.loaded.get(request.name, False))


async def _live(model: FakeModel, request: Any, context: Any) -> Any:
    return METHODS["ServerLive"].response(live=True)


async def _index(model: FakeModel, request: Any, context: Any) -> Any:
    answer = METHODS["RepositoryIndex"].response()
    for name, loaded in model.loaded.items():
        state, reason = ("READY", "") if loaded else ("UNAVAILABLE", "unloaded")
        answer.models.add(name=name, version="1", state=state, reason=reason)
    return answer


async def _load(model: FakeModel, request: Any, context: Any) -> Any:
    return _set_loaded(model, request, "RepositoryModelLoad", loaded=True)


async def _unload(model: FakeModel, request: Any, context: Any) -> Any:
    return _set_loaded(model, request, "RepositoryModelUnload", loaded=False)


def _set_loaded(model: FakeModel, request: Any, method: str, *, loaded: bool) -> Any:
    if request.model_name not in model.loaded:
        raise ModelNotFoundError(f"there is no model '{request.model_name}' to load")
    model.loaded[request.model_name] = loaded
    return METHODS[method].response()


_ANSWERS: dict[str, _Answer] = {
    "ModelInfer": _infer,
    "ModelMetadata": _metadata,
    "ModelReady": _model_ready,
    "ModelStatistics": _statistics,
    "RepositoryIndex": _index,
    "RepositoryModelLoad": _load,
    "RepositoryModelUnload": _unload,
    "ServerLive": _live,
    "ServerReady": _ready,
}
