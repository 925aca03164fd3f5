"""From an `InferResponse` to the body of an HTTP answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from beyond_serve.errors import InvalidRequestError
from beyond_serve.server.oip.outputs import PlannedOutput
from beyond_serve.wire.binary import HEADER_LENGTH, JSON, OCTET_STREAM, join_body
from beyond_serve.wire.json_tensor import BINARY_ONLY, encode_json
from beyond_serve.wire.oip import InferResponse, OutputTensor, Parameters
from beyond_serve.wire.parameters import flag_parameter
from beyond_serve.wire.raw_tensor import encode_raw


class Reply(NamedTuple):
    body: bytes
    content_type: str
    headers: list[tuple[str, str]]


def binary_outputs(planned: Sequence[PlannedOutput], parameters: Parameters) -> tuple[bool, ...]:
    """Which outputs go as binary data: an output's own flag wins over the request's.

    Raises:
        InvalidRequestError: JSON is asked for, and the datatype has none.
    """
    default = flag_parameter(parameters, "binary_data_output", "the request") or False
    flags: list[bool] = []
    for output in planned:
        flag = output.requested.binary
        binary = default if flag is None else flag
        if not binary and output.requested.region is None and output.datatype in BINARY_ONLY:
            raise InvalidRequestError(
                f"output '{output.requested.name}' is {output.datatype}, which has no JSON form",
                'ask for it with "parameters": {"binary_data": true}',
            )
        flags.append(binary)
    return tuple(flags)


def encode_response(
    response: InferResponse, binary: Sequence[bool], trace: dict[str, object] | None
) -> Reply:
    """The body, its type and its headers.

    Args:
        binary: as `binary_outputs` said, in the order of the response's outputs.
        trace: put into the answer's parameters.

    Raises:
        InvalidRequestError: an output cannot be said in JSON.
    """
    blobs: list[bytes | memoryview] = []
    outputs = [_output(tensor, blobs, flag) for tensor, flag in zip(response.outputs, binary, strict=True)]
    document: dict[str, Any] = {"model_name": response.model, "model_version": response.version}
    if response.id:
        document["id"] = response.id
    if trace is not None or response.parameters:
        document["parameters"] = {**response.parameters, **({"trace": trace} if trace is not None else {})}
    document["outputs"] = outputs
    header = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    # By what was asked, not by how many bytes it made: an empty tensor is binary data too.
    if not any("binary_data_size" in output.get("parameters", ()) for output in outputs):
        return Reply(header, JSON, [])
    return Reply(join_body(header, blobs), OCTET_STREAM, [(HEADER_LENGTH, str(len(header)))])


def _output(tensor: OutputTensor, blobs: list[bytes | memoryview], binary: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
    parameters = dict(tensor.parameters)
    if tensor.data is None:
        pass  # In shared memory, as the parameters say.
    elif binary:
        blob = encode_raw(tensor.data)
        blobs.append(blob)
        parameters["binary_data_size"] = len(blob)
    else:
        entry["data"] = encode_json(tensor.data, f"output '{tensor.name}'")
    if parameters:
        entry["parameters"] = parameters
    return entry
