"""The gRPC wire, without a channel: messages of requests, and what answers and statuses mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import orjson
from numpy.typing import NDArray

from beyond_serve import errors
from beyond_serve.client.endpoint import Endpoint
from beyond_serve.client.errors import (
    CallFailed,
    ServerUnreachableError,
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
    TraceReport,
    read_trace,
)
from beyond_serve.client.transport import output_array
from beyond_serve.errors import BeyondError
from beyond_serve.wire.bytes_tensor import decode_bytes, encode_bytes
from beyond_serve.wire.messages import ModelInferRequest
from beyond_serve.wire.oip import InferRequest
from beyond_serve.wire.raw_tensor import decode_raw, encode_raw

IMAGE_INPUT = "image"
"""The BYTES input of a model that takes encoded images."""


def infer_message(request: InferRequest) -> Any:
    """The request with every tensor in its raw form."""
    message = ModelInferRequest(model_name=request.model)
    _set_parameters(message.parameters, request.parameters)
    for tensor in request.inputs:
        assert isinstance(tensor.data, list | np.ndarray)
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        message.raw_input_contents.append(bytes(encode_raw(tensor.data)))
    for output in request.outputs:
        message.outputs.add(name=output.name)
    return message


def predict_message(model: str, images: Sequence[bytes], parameters: Mapping[str, int]) -> Any:
    """A request for the best classes of images; how many, `parameters` say as `top_k`."""
    message = ModelInferRequest(model_name=model)
    _set_parameters(message.parameters, parameters)
    message.inputs.add(name=IMAGE_INPUT, datatype="BYTES", shape=[len(images)])
    message.raw_input_contents.append(encode_bytes(images))
    return message


def _set_parameters(target: Any, parameters: Mapping[str, int]) -> None:
    for name, value in parameters.items():
        target[name].int64_param = value


def predictions_of(
    answer: Any, count: int, trace: TraceReport | None, url: str
) -> list[Prediction | BeyondError]:
    """The results of `count` images out of a BYTES output [count, k] of `value:index[:label]`."""
    try:
        (raw,) = answer.raw_output_contents
        rows, width = answer.outputs[0].shape
        if rows != count:
            raise ValueError(f"{rows} results for {count} images")
        classes = [_class_score(text.decode()) for text in decode_bytes(raw, rows * width, "the scores")]
    except (BeyondError, ValueError) as error:
        raise _unreadable(url, error) from error
    return [
        Prediction(answer.model_name, tuple(classes[row * width : (row + 1) * width]), trace)
        for row in range(count)
    ]


def _class_score(text: str) -> ClassScore:
    score, index, *label = text.split(":", 2)
    return ClassScore(label[0] if label else None, int(index), float(score))


def outputs_of(answer: Any, url: str) -> dict[str, NDArray[Any]]:
    """The tensors of an inference answer; numeric ones are read-only views of it."""
    try:
        return {
            tensor.name: output_array(
                decode_raw(raw, tensor.datatype, tuple(tensor.shape), f"output '{tensor.name}'"),
                tuple(tensor.shape),
            )
            for tensor, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
        }
    except (BeyondError, ValueError) as error:
        raise _unreadable(url, error) from error


def _unreadable(url: str, error: Exception) -> UnexpectedReplyError:
    return UnexpectedReplyError(
        f"the answer of {url} cannot be read: {error}", "check that the URL is a beyond-serve server"
    )


def metadata_of(answer: Any) -> ModelMetadata:
    return ModelMetadata(
        name=answer.name,
        versions=tuple(answer.versions),
        platform=answer.platform,
        inputs=_tensors_metadata(answer.inputs),
        outputs=_tensors_metadata(answer.outputs),
    )


def _tensors_metadata(tensors: Iterable[Any]) -> tuple[TensorMetadata, ...]:
    return tuple(TensorMetadata(tensor.name, tensor.datatype, tuple(tensor.shape)) for tensor in tensors)


def models_of(answer: Any) -> list[ModelStatus]:
    return [ModelStatus(model.name, model.version, model.state, model.reason) for model in answer.models]


def statistics_of(answer: Any, name: str, url: str) -> dict[str, Any]:
    if not answer.model_stats:
        raise UnexpectedReplyError(f"{url} answered no statistics for '{name}'")
    return message_dict(answer.model_stats[0])


def message_dict(message: Any) -> dict[str, Any]:
    """A message as the HTTP transport's JSON has it: every field present, whole numbers as numbers.

    protobuf's own json_format writes 64-bit numbers as strings.
    """
    return {field.name: _value(field, getattr(message, field.name)) for field in message.DESCRIPTOR.fields}


def _value(field: Any, value: Any) -> Any:
    if field.message_type is None:
        return list(value) if field.is_repeated else value
    if field.message_type.GetOptions().map_entry:
        return {key: message_dict(entry) for key, entry in value.items()}
    return [message_dict(item) for item in value] if field.is_repeated else message_dict(value)


def trace_of(trailing: Mapping[str, str], url: str) -> TraceReport | None:
    """The trace in an answer's trailing metadata, None if there is none.

    Raises:
        UnexpectedReplyError: what is there is no trace.
    """
    text = trailing.get("trace")
    if text is None:
        return None
    try:
        return read_trace(orjson.loads(text))
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(url, error) from error


# gRPC's own words for a connection that failed; the server's messages have none of them.
_NO_CONNECTION = re.compile(
    r"connect|socket|handshake|goaway|dns|reset|broken pipe|transport|stream removed|ssl|end of file|\beof\b",
    re.IGNORECASE,
)
_TLS = re.compile(r"ssl|tls|handshake|certificate", re.IGNORECASE)

_BY_STATUS: dict[grpc.StatusCode, type[BeyondError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequestError,
    grpc.StatusCode.UNAUTHENTICATED: errors.UnauthorizedError,
    grpc.StatusCode.NOT_FOUND: errors.ModelNotFoundError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.PayloadTooLargeError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceededError,
    grpc.StatusCode.UNAVAILABLE: errors.ShuttingDownError,
    grpc.StatusCode.INTERNAL: errors.EngineError,
    grpc.StatusCode.UNIMPLEMENTED: errors.InvalidRequestError,
}


def failure_of(
    status: grpc.StatusCode, message: str, trailing: Mapping[str, str], endpoint: Endpoint
) -> Exception:
    """What a call that ended with `status` raises.

    Several classes share a status: the trailing metadata's `error-code` tells them apart.
    """
    retry_after_s = parse_retry_after(trailing.get("retry-after"))
    code = trailing.get("error-code")
    if code is not None and is_known_code(code):
        return CallFailed(error_of_code(code, message, None, retry_after_s), retry_after_s)
    if status is grpc.StatusCode.UNAVAILABLE and _NO_CONNECTION.search(message):
        return unreachable(endpoint, message)
    if status not in _BY_STATUS:
        return UnexpectedReplyError(f"{endpoint.url} answered {status.name}: {message}")
    return CallFailed(error_of_code(_BY_STATUS[status].code, message, None, retry_after_s), retry_after_s)


def unreachable(endpoint: Endpoint, reason: str) -> ServerUnreachableError:
    """No connection; `reason` is the transport's own words."""
    if endpoint.is_secure and _TLS.search(reason):
        hint = (
            "check that the server speaks TLS, and pass verify='path/to/ca.pem' if its authority is private"
        )
    else:
        hint = "check that the server runs there and listens on this address and port"
    return ServerUnreachableError(f"cannot reach {endpoint.url}: {reason}", hint)
