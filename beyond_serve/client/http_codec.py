"""The HTTP wire, without a connection: bodies of requests, and what answers mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import numpy as np
import orjson
from numpy.typing import NDArray

from beyond_serve import errors
from beyond_serve.client.errors import (
    CallFailed,
    UnexpectedReplyError,
    error_of_code,
    is_known_code,
    parse_retry_after,
)
from beyond_serve.client.results import (
    ClassScore,
    ModelMetadata,
    ModelStatus,
    Prediction,
    TensorMetadata,
    read_trace,
)
from beyond_serve.client.transport import PredictOptions, output_array
from beyond_serve.errors import BeyondError
from beyond_serve.wire.binary import HEADER_LENGTH, join_body, parse_header_length, split_blobs
from beyond_serve.wire.datatypes import BYTES, numpy_dtype
from beyond_serve.wire.oip import InferRequest
from beyond_serve.wire.raw_tensor import decode_raw, encode_raw

_BY_STATUS: dict[int, type[BeyondError]] = {
    400: errors.InvalidRequestError,
    401: errors.UnauthorizedError,
    404: errors.ModelNotFoundError,
    413: errors.PayloadTooLargeError,
    415: errors.UnsupportedImageError,
    422: errors.ImageDecodeError,
    429: errors.QueueFullError,
    500: errors.EngineError,
    503: errors.ShuttingDownError,
    504: errors.DeadlineExceededError,
}

_PROXY_STATUSES = frozenset((401, 413, 429, 503, 504))
"""What a proxy in front of the server says in its own words and means as the server does."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read whole. `headers` is looked up without regard to case."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


def predict_query(options: PredictOptions) -> str:
    query: dict[str, str] = {"top_k": str(options.top_k)}
    if options.model is not None:
        query["model"] = options.model
    if options.trace:
        query["trace"] = "1"
    if options.timeout_ms is not None:
        query["timeout_ms"] = str(options.timeout_ms)
    if options.priority is not None:
        query["priority"] = str(options.priority)
    return urlencode(query)


def multipart_body(images: Sequence[bytes]) -> tuple[str, bytes]:
    """Content-Type and body of several images (RFC 7578)."""
    boundary = uuid4().hex
    parts: list[bytes] = []
    for number, image in enumerate(images):
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{number}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        parts += (head.encode(), image, b"\r\n")
    parts.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", b"".join(parts)


def infer_body(request: InferRequest) -> tuple[dict[str, str], bytes]:
    """Headers and body of an inference request whose tensors are all binary."""
    blobs = []
    inputs = []
    for tensor in request.inputs:
        assert isinstance(tensor.data, list | np.ndarray)
        blob = encode_raw(tensor.data)
        blobs.append(blob)
        size = {"binary_data_size": len(blob)}
        inputs.append(
            {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape, "parameters": size}
        )
    document: dict[str, Any] = {
        "inputs": inputs,
        "parameters": {**request.parameters, "binary_data_output": True},
    }
    if request.outputs:
        document["outputs"] = [{"name": output.name} for output in request.outputs]
    header = orjson.dumps(document)
    headers = {HEADER_LENGTH: str(len(header)), "Content-Type": "application/octet-stream"}
    return headers, join_body(header, blobs)


def check_reply(reply: Reply) -> Reply:
    """The reply itself if it is a success.

    Raises:
        CallFailed: the server's error.
        UnexpectedReplyError: a status of no meaning here, in a body that is not the server's.
    """
    if reply.status == 200:
        return reply
    retry_after_s = parse_retry_after(reply.headers.get("Retry-After"))
    match _json_or_none(reply.body):
        case {"error": {"code": str(code), "message": str(message)} as error}:
            hint = error.get("hint")
            raise CallFailed(error_of_code(code, message, hint, retry_after_s), retry_after_s)
        case {"error": str(message)} if reply.status in _BY_STATUS:
            pass
        case _ if reply.status in _PROXY_STATUSES:
            message = f"{reply.url} answered status {reply.status}"
        case _:
            raise unexpected(reply, f"with status {reply.status}")
    named = reply.headers.get("Error-Code")
    code = named if named is not None and is_known_code(named) else _BY_STATUS[reply.status].code
    raise CallFailed(error_of_code(code, message, None, retry_after_s), retry_after_s)


def unexpected(reply: Reply, how: str) -> UnexpectedReplyError:
    kind = reply.headers.get("Content-Type", "no content type")
    return UnexpectedReplyError(
        f"{reply.url} answered {how} ({kind}, {len(reply.body)} bytes), which is not this protocol",
        "check that the URL is a beyond-serve server and no proxy's page stands in between",
    )


def json_of(reply: Reply) -> Any:
    """The reply's JSON. Raises `UnexpectedReplyError` if it is none."""
    try:
        return orjson.loads(reply.body)
    except orjson.JSONDecodeError as error:
        raise unexpected(reply, "with a body that is no JSON") from error


def predictions_of(reply: Reply, count: int) -> list[Prediction | BeyondError]:
    """The results of `count` images. Raises `UnexpectedReplyError` if the reply does not hold them."""
    document = json_of(reply)
    items = document if isinstance(document, list) else [document]
    if len(items) != count:
        raise unexpected(reply, f"{len(items)} results for {count} images")
    try:
        return [_prediction(item) for item in items]
    except (KeyError, TypeError, ValueError) as error:
        raise unexpected(reply, "with results that cannot be read") from error


def _prediction(item: Any) -> Prediction | BeyondError:
    if "error" in item:
        error = item["error"]
        return error_of_code(error["code"], error["message"], error.get("hint"))
    classes = tuple(
        ClassScore(entry["label"], int(entry["index"]), float(entry["score"]))
        for entry in item["predictions"]
    )
    trace = item.get("trace")
    return Prediction(item["model"], classes, None if trace is None else read_trace(trace))


def outputs_of(reply: Reply) -> dict[str, NDArray[Any]]:
    """The tensors of an inference answer; numeric ones are read-only views of its body.

    Raises:
        UnexpectedReplyError: they cannot be read.
    """
    try:
        length = parse_header_length(reply.headers.get(HEADER_LENGTH), len(reply.body))
        split = len(reply.body) if length is None else length
        tensors = orjson.loads(reply.body[:split])["outputs"]
        blobs = split_blobs(memoryview(reply.body)[split:], _binary_sizes(tensors))
        waiting = iter(blobs)
        return {
            tensor["name"]: _binary_output(tensor, next(waiting))
            if "binary_data_size" in tensor.get("parameters", ())
            else _json_output(tensor)
            for tensor in tensors
        }
    except (BeyondError, KeyError, TypeError, ValueError) as error:
        raise unexpected(reply, f"with tensors that cannot be read ({error})") from error


def _binary_sizes(tensors: Sequence[Any]) -> list[tuple[str, int]]:
    sizes = ((tensor["name"], tensor.get("parameters", {}).get("binary_data_size")) for tensor in tensors)
    return [(name, size) for name, size in sizes if size is not None]


def _binary_output(tensor: Mapping[str, Any], raw: memoryview) -> NDArray[Any]:
    shape = tuple(tensor["shape"])
    return output_array(decode_raw(raw, tensor["datatype"], shape, f"output '{tensor['name']}'"), shape)


def _json_output(tensor: Mapping[str, Any]) -> NDArray[Any]:
    shape = tuple(tensor["shape"])
    if tensor["datatype"] == BYTES:
        return output_array([text.encode() for text in tensor["data"]], shape)
    return np.array(tensor["data"], numpy_dtype(tensor["datatype"])).reshape(shape)


def metadata_of(reply: Reply) -> ModelMetadata:
    document = json_of(reply)
    try:
        return ModelMetadata(
            name=document["name"],
            versions=tuple(document.get("versions", ())),
            platform=document.get("platform", ""),
            inputs=tuple(_tensor_metadata(tensor) for tensor in document["inputs"]),
            outputs=tuple(_tensor_metadata(tensor) for tensor in document["outputs"]),
        )
    except (KeyError, TypeError) as error:
        raise unexpected(reply, "with metadata that cannot be read") from error


def _tensor_metadata(tensor: Mapping[str, Any]) -> TensorMetadata:
    return TensorMetadata(tensor["name"], tensor["datatype"], tuple(tensor["shape"]))


def models_of(reply: Reply) -> list[ModelStatus]:
    try:
        return [
            ModelStatus(entry["name"], entry.get("version", ""), entry["state"], entry.get("reason", ""))
            for entry in json_of(reply)
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise unexpected(reply, "with an index that cannot be read") from error


def statistics_of(reply: Reply) -> dict[str, Any]:
    match json_of(reply):
        case {"model_stats": [dict(statistics), *_]}:
            return statistics
    raise unexpected(reply, "with statistics that cannot be read")


def _json_or_none(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
