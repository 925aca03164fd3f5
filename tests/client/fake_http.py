"""The fake over HTTP, by aiohttp's server: `/predict`, and the `/v2` routes that the client calls."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from beyond_serve.errors import BeyondError, InvalidRequestError, ModelNotFoundError, QueueFullError
from tests.client.fake_server import (
    STATISTICS,
    FakeModel,
    bytes_tensor,
    split_bytes_tensor,
    trace_document,
)

MODEL = web.AppKey("model", FakeModel)

STATUS = {
    "invalid_request": 400,
    "unauthorized": 401,
    "model_not_found": 404,
    "payload_too_large": 413,
    "unsupported_image": 415,
    "image_decode": 422,
    "queue_full": 429,
    "engine": 500,
    "internal": 500,
    "shutting_down": 503,
    "instance_lost": 503,
    "deadline_exceeded": 504,
}


@asynccontextmanager
async def serve_http(model: FakeModel, tls: ssl.SSLContext | None = None, **_: Any) -> AsyncIterator[str]:
    app = web.Application(middlewares=[_errors], client_max_size=1 << 26)
    app[MODEL] = model
    app.add_routes(
        [
            web.post("/predict", _predict),
            web.post("/v2/models/{name}/infer", _infer),
            web.get("/v2/models/{name}", _metadata),
            web.get("/v2/models/{name}/stats", _statistics),
            web.get("/v2/models/{name}/ready", _model_ready),
            web.get("/v2/health/{what}", _health),
            web.post("/v2/repository/index", _index),
            web.post("/v2/repository/models/{name}/{action}", _repository),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@web.middleware
async def _errors(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        _model(request).authorize(request.headers.get("Authorization"))
        return await handler(request)
    except BeyondError as error:
        headers = {"Error-Code": error.code}
        if isinstance(error, QueueFullError):
            headers["Retry-After"] = str(error.retry_after_s)
        body: Any = {"code": error.code, "message": error.message}
        if error.hint:
            body["hint"] = error.hint
        if request.path.startswith("/v2"):
            body = f"{error.message}; {error.hint}" if error.hint else error.message
        return web.json_response({"error": body}, status=STATUS[error.code], headers=headers)


def _model(request: web.Request) -> FakeModel:
    return request.app[MODEL]


async def _predict(request: web.Request) -> web.Response:
    model = _model(request)
    several = request.content_type.startswith("multipart/")
    images = [bytes(await part.read()) async for part in await request.multipart()] if several else []
    images = images or [await request.read()]
    asked = dict(request.query)
    await model.enter(images=images, **asked)
    name = model.named(asked.get("model", "demo"))
    items, errors = [], []
    for image in images:
        try:
            items.append(_item(model, name, image, asked))
        except BeyondError as error:
            errors.append(error)
            items.append({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
    if len(errors) == len(images):
        raise errors[0]
    return web.json_response(items if several else items[0])


def _item(model: FakeModel, name: str, image: bytes, asked: dict[str, str]) -> dict[str, Any]:
    classes = [
        {"label": label, "index": index, "score": score}
        for score, index, label in model.classify(image, int(asked["top_k"]))
    ]
    item: dict[str, Any] = {"model": name, "predictions": classes}
    if asked.get("trace") == "1":
        item["trace"] = trace_document()
    return item


async def _infer(request: web.Request) -> web.Response:
    """Echo: each input comes back as an output of its name; one of dtype INT8 as JSON."""
    model = _model(request)
    name = model.named(request.match_info["name"])
    body = await request.read()
    header_length = int(request.headers["Inference-Header-Content-Length"])
    header, rest = json.loads(body[:header_length]), body[header_length:]
    await model.enter(**header["parameters"])
    wanted = [output["name"] for output in header.get("outputs", ())]
    outputs, blobs = [], []
    for tensor in header["inputs"]:
        size = tensor.pop("parameters")["binary_data_size"]
        blob, rest = rest[:size], rest[size:]
        if wanted and tensor["name"] not in wanted:
            continue
        outputs.append(tensor)
        if tensor["datatype"] == "INT8":
            tensor["data"] = [value - 256 if value > 127 else value for value in blob]
            continue
        if tensor["datatype"] == "BYTES":
            blob = bytes_tensor([element[::-1] for element in split_bytes_tensor(blob)])
        tensor["parameters"] = {"binary_data_size": len(blob)}
        blobs.append(blob)
    if rest or not outputs:
        raise InvalidRequestError(f"{len(rest)} bytes too many, {len(outputs)} outputs")
    document = json.dumps({"model_name": name, "outputs": outputs}).encode()
    headers = {"Inference-Header-Content-Length": str(len(document))} if blobs else {}
    return web.Response(body=document + b"".join(blobs), headers=headers)


async def _metadata(request: web.Request) -> web.Response:
    name = _model(request).named(request.match_info["name"])
    tensors = {
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}],
    }
    return web.json_response({"name": name, "versions": ["1"], "platform": "fake", **tensors})


async def _statistics(request: web.Request) -> web.Response:
    _model(request).named(request.match_info["name"])
    return web.json_response({"model_stats": [STATISTICS]})


async def _model_ready(request: web.Request) -> web.Response:
    try:
        _model(request).named(request.match_info["name"])
    except ModelNotFoundError as error:
        raise InvalidRequestError(error.message) from error
    return web.json_response({"ready": True})


async def _health(request: web.Request) -> web.Response:
    ready = request.match_info["what"] == "live" or all(_model(request).loaded.values())
    return web.json_response({request.match_info["what"]: ready}, status=200 if ready else 503)


async def _index(request: web.Request) -> web.Response:
    return web.json_response(
        [
            {"name": name, "version": "1", "state": "READY", "reason": ""}
            if loaded
            else {"name": name, "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}
            for name, loaded in _model(request).loaded.items()
        ]
    )


async def _repository(request: web.Request) -> web.Response:
    name, model = request.match_info["name"], _model(request)
    if name not in model.loaded:
        raise ModelNotFoundError(f"there is no model '{name}' to load")
    model.loaded[name] = request.match_info["action"] == "load"
    return web.json_response({})
