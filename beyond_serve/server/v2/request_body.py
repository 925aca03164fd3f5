"""From the body of an HTTP inference request to an `InferRequest`."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import orjson

from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.errors import InvalidRequestError
from beyond_serve.server.oip.inputs import raw_input
from beyond_serve.wire.binary import HEADER_LENGTH, split_blobs
from beyond_serve.wire.datatypes import BYTES, TensorData, check_datatype
from beyond_serve.wire.json_tensor import decode_json
from beyond_serve.wire.oip import InferInput, InferRequest, RegionSlice, RequestedOutput
from beyond_serve.wire.parameters import flag_parameter, integer_parameter, region_parameter

MAX_RANK = 32
_NOTHING: Mapping[str, Any] = {}


def read_request(
    model: str, version: str, info: EngineInfo, body: bytes, header_length: int | None
) -> InferRequest:
    """Parse a body, all of it JSON, or JSON and binary tensors, or raw.

    Args:
        header_length: bytes of JSON; None if all is JSON, 0 if all is the one input's data.

    Raises:
        InvalidRequestError: anything that the protocol does not allow.
    """
    if header_length == 0:
        # As Triton answers such requests, and as whoever sends bytes can read them.
        return InferRequest(model, version, "", (raw_input(info, body),), (), {"binary_data_output": True})
    view = memoryview(body)
    split = len(body) if header_length is None else header_length
    document = _parse(view[:split])
    request_id = document.get("id", "")
    if not isinstance(request_id, str):
        raise InvalidRequestError("'id' is no string", 'give a string, like "id": "42"')
    return InferRequest(
        model,
        version,
        request_id,
        _inputs(document, view[split:], has_blobs=header_length is not None),
        tuple([_output(entry) for entry in _objects(document, "outputs")]),
        _parameters(document, "the request"),
    )


def _parse(text: memoryview) -> dict[str, Any]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(
            f"the request is no valid JSON: {error}",
            f"send a JSON object; binary data goes behind it, with {HEADER_LENGTH}",
        ) from error
    if not isinstance(document, dict):
        raise InvalidRequestError("the request is no JSON object", 'send {"inputs": […]}')
    return document


def _inputs(document: dict[str, Any], blobs: memoryview, *, has_blobs: bool) -> tuple[InferInput, ...]:
    entries = _objects(document, "inputs")
    sizes: list[tuple[str, int]] = []
    read = [_Input(entry) for entry in entries]
    for entry in read:
        size = integer_parameter(entry.parameters, "binary_data_size", entry.what)
        if size is None:
            continue
        if not has_blobs:
            raise InvalidRequestError(
                f"{entry.what} has a binary_data_size, the request has no {HEADER_LENGTH}",
                "send that header with the size of the JSON part",
            )
        if entry.region is not None or "data" in entry.fields:
            raise entry.several_places()
        entry.blob = len(sizes)
        sizes.append((entry.name, size))
    parts = split_blobs(blobs, sizes)
    return tuple([entry.decoded(parts) for entry in read])


class _Input:
    """One entry of `inputs`, checked, its data not looked at yet."""

    __slots__ = ("blob", "datatype", "fields", "name", "parameters", "region", "shape", "what")

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self.name = _name(fields, "an input")
        self.what = f"input '{self.name}'"
        self.parameters = _parameters(fields, self.what)
        self.region: RegionSlice | None = (
            region_parameter(self.parameters, self.what) if self.parameters else None
        )
        self.blob: int | None = None
        datatype = fields.get("datatype")
        if not isinstance(datatype, str):
            raise InvalidRequestError(f"{self.what} has no 'datatype'", 'give one, like "FP32"')
        check_datatype(datatype, self.what)
        self.datatype = datatype
        self.shape = _shape(fields.get("shape"), self.what)

    def several_places(self) -> InvalidRequestError:
        return InvalidRequestError(
            f"{self.what} says more than once where its data is",
            "give one of 'data', binary_data_size and shared_memory_region",
        )

    def decoded(self, parts: list[memoryview]) -> InferInput:
        data: TensorData | memoryview | RegionSlice
        if self.blob is not None:
            data = parts[self.blob]
        elif self.region is not None:
            if "data" in self.fields:
                raise self.several_places()
            data = self.region
        elif "data" in self.fields:
            data = self._json()
        else:
            raise InvalidRequestError(
                f"{self.what} has no data", "give 'data', binary_data_size or shared_memory_region"
            )
        return InferInput(self.name, self.datatype, self.shape, data, self.parameters)

    def _json(self) -> TensorData:
        data = decode_json(self.fields["data"], self.datatype, self.shape, self.what)
        # MLServer's clients mark base64 so; a JPEG has no other way into JSON.
        if self.datatype == BYTES and self.parameters.get("content_type") == "base64":
            assert isinstance(data, list)
            return [_from_base64(element, self.what) for element in data]
        return data


def _from_base64(element: bytes, what: str) -> bytes:
    try:
        return b64decode(element, validate=True)
    except ValueError as error:
        raise InvalidRequestError(f"{what}: an element is no base64: {error}", "encode it again") from error


def _output(fields: dict[str, Any]) -> RequestedOutput:
    name = _name(fields, "an output")
    what = f"output '{name}'"
    parameters = _parameters(fields, what)
    if not parameters:
        return RequestedOutput(name)
    return RequestedOutput(
        name,
        integer_parameter(parameters, "classification", what, least=1) or 0,
        flag_parameter(parameters, "binary_data", what),
        region_parameter(parameters, what),
    )


def _objects(document: dict[str, Any], field: str) -> list[dict[str, Any]]:
    entries = document.get(field, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidRequestError(f"'{field}' is no array of objects", f'send "{field}": [{{…}}]')
    return entries


def _name(fields: dict[str, Any], what: str) -> str:
    name = fields.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequestError(f"{what} has no 'name'", "name it; the model's metadata has the names")
    return name


def _parameters(fields: dict[str, Any], what: str) -> Mapping[str, Any]:
    parameters = fields.get("parameters", _NOTHING)
    if not isinstance(parameters, dict):
        raise InvalidRequestError(f"{what}: 'parameters' is no object", 'send "parameters": {…}')
    return parameters


def _shape(shape: object, what: str) -> tuple[int, ...]:
    if not isinstance(shape, list) or len(shape) > MAX_RANK:
        raise InvalidRequestError(
            f"{what} has no 'shape' that is an array of sizes", "for example [1, 3, 224, 224]"
        )
    for size in shape:
        if type(size) is not int or size < 0:
            raise InvalidRequestError(
                f"{what}: 'shape' holds {size!r:.40}", "give whole numbers of 0 or more"
            )
    return tuple(shape)
