"""ModelInferRequest and ModelInferResponse, to and from what both transports share.

Inputs come either raw (`raw_input_contents`, one blob for each input that is not in shared memory, in
their order) or typed (each input's `contents`), never mixed. Outputs always go raw, one blob for each
output that is not in shared memory: the only form that every client reads.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, Final

from google.protobuf.message import DecodeError

from beyond_serve.errors import InvalidRequestError
from beyond_serve.server.grpc.parameters import read_parameters, write_parameters
from beyond_serve.server.grpc.typed_contents import read_contents
from beyond_serve.wire.messages import ModelInferResponse
from beyond_serve.wire.oip import InferInput, InferRequest, InferResponse, Parameters, RequestedOutput
from beyond_serve.wire.parameters import integer_parameter, region_parameter
from beyond_serve.wire.raw_tensor import encode_raw

_NO_PARAMETERS: Parameters = {}

# Invented numbers, far above any model's: a message of many empty parts is small to send, and would
# keep the event loop busy for seconds.
_MOST_PARTS: Final = 1024
_MOST_AXES: Final = 64


def decode_message(message_class: Any, serialized: bytes) -> Any:
    """A message of that class.

    Raises:
        InvalidRequestError: the bytes are none.
    """
    try:
        return message_class.FromString(serialized)
    except DecodeError as error:
        raise InvalidRequestError(
            f"the bytes are no {message_class.DESCRIPTOR.full_name}", "use the protocol's grpc_service.proto"
        ) from error


def decode_request(message: Any) -> InferRequest:
    """The request that a ModelInferRequest message carries. Numeric tensors stay raw, and are not copied.

    Raises:
        InvalidRequestError: contents that are mixed, missing or too many, or do not fit their tensor.
    """
    _check_number(message.inputs, "inputs", "the request", _MOST_PARTS)
    _check_number(message.outputs, "outputs", "the request", _MOST_PARTS)
    return InferRequest(
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        inputs=_inputs(message),
        outputs=tuple(_requested(output) for output in message.outputs),
        parameters=_parameters(message.parameters, "the request"),
    )


def _parameters(messages: Any, what: str) -> Parameters:
    if not messages:
        return _NO_PARAMETERS
    _check_number(messages, "parameters", what, _MOST_PARTS)
    return read_parameters(messages, what)


def _check_number(parts: Sized, kind: str, what: str, most: int) -> None:
    if len(parts) > most:
        raise InvalidRequestError(f"{what} has {len(parts)} {kind}", f"at most {most} are read")


def _inputs(message: Any) -> tuple[InferInput, ...]:
    blobs = message.raw_input_contents
    count = len(blobs)
    used = 0
    inputs: list[InferInput] = []
    for tensor in message.inputs:
        what = f"input '{tensor.name}'"
        _check_number(tensor.shape, "axes", what, _MOST_AXES)
        parameters = _parameters(tensor.parameters, what)
        shape = tuple(tensor.shape)
        region = region_parameter(parameters, what) if parameters else None
        data: Any = region
        if region is not None:
            _refuse_contents(tensor, what, "its data is in shared memory")
        elif count:
            _refuse_contents(tensor, what, "the request has raw_input_contents")
            if used == count:
                raise InvalidRequestError(
                    f"{what} has no data: the request has only {count} raw_input_contents",
                    "send one for each input that is not in shared memory",
                )
            data = blobs[used]
            used += 1
        elif tensor.HasField("contents"):
            data = read_contents(tensor.contents, tensor.datatype, shape, what)
        else:
            raise InvalidRequestError(f"{what} has no data", "fill raw_input_contents or its contents")
        inputs.append(InferInput(tensor.name, tensor.datatype, shape, data, parameters))
    if used != count:
        raise InvalidRequestError(
            f"the request has {count} raw_input_contents, its inputs need {used}",
            "send one for each input that is not in shared memory",
        )
    return tuple(inputs)


def _refuse_contents(tensor: Any, what: str, because: str) -> None:
    if tensor.HasField("contents"):
        raise InvalidRequestError(f"{what} has contents, and {because}", "send the data once, in one form")


def _requested(output: Any) -> RequestedOutput:
    what = f"output '{output.name}'"
    parameters = _parameters(output.parameters, what)
    if not parameters:
        return RequestedOutput(output.name)
    return RequestedOutput(
        output.name,
        classification=integer_parameter(parameters, "classification", what) or 0,
        region=region_parameter(parameters, what),
    )


def encode_response(response: InferResponse) -> Any:
    """The ModelInferResponse message of an answer."""
    message = ModelInferResponse(model_name=response.model, model_version=response.version, id=response.id)
    if response.parameters:
        write_parameters(response.parameters, message.parameters)
    for output in response.outputs:
        tensor = message.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if output.parameters:
            write_parameters(output.parameters, tensor.parameters)
        if output.data is not None:
            message.raw_output_contents.append(bytes(encode_raw(output.data)))
    return message
