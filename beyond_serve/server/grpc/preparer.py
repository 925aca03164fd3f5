"""From a serialised ModelInferRequest to a checked inference, at the speed of the hot path.

From call to call a client changes its tensor's bytes and the id, and repeats the rest: model, shape,
datatype, outputs, parameters. What was once parsed and found valid is remembered by its own bytes, and
of the next request like it only the tensor is decoded, where it lies.
"""

from __future__ import annotations

import weakref
from math import prod
from typing import Final, NamedTuple

from beyond_serve.server.grpc.codec import decode_message, decode_request
from beyond_serve.server.grpc.split import SplitRequest, split_request
from beyond_serve.server.oip.infer import LONGEST_TIMEOUT_US, Inference, prepare_inference
from beyond_serve.server.oip.inputs import Rows
from beyond_serve.server.oip.outputs import PlannedOutput
from beyond_serve.server.oip.served_model import Repository, ServedModel
from beyond_serve.server.oip.shared_memory import RegionTable
from beyond_serve.wire.bytes_tensor import decode_bytes
from beyond_serve.wire.datatypes import BYTES
from beyond_serve.wire.messages import ModelInferRequest
from beyond_serve.wire.oip import InferInput, InferRequest
from beyond_serve.wire.parameters import integer_parameter
from beyond_serve.wire.raw_tensor import decode_raw

# Invented numbers: what a client repeats is some hundred bytes; many clients make few different ones.
_LONGEST_HEAD: Final = 4096
_MOST_PATTERNS: Final = 256


class _Pattern(NamedTuple):
    """A request that was valid for `model`, but for its id and its only input's data.

    `model` is a weak reference: an unloaded model's memory must not wait for a pattern to go.
    """

    model: weakref.ref[ServedModel]
    model_name: str
    version: str
    given: InferInput
    what: str
    elements: int
    outputs: tuple[PlannedOutput, ...]
    timeout_us: int
    priority: int
    traced: bool


class Prepared(NamedTuple):
    """`traced`: the request's parameters ask for its trace."""

    inference: Inference
    request_id: str
    traced: bool


class Preparer:
    """Prepares requests. State: the patterns that were seen; owned by the event loop."""

    def __init__(self, repository: Repository, regions: RegionTable) -> None:
        self._repository = repository
        self._regions = regions
        self._patterns: dict[bytes, _Pattern] = {}

    def prepare(self, serialized: bytes) -> Prepared:
        """Parse and check a request; nothing is queued yet.

        Raises:
            InvalidRequestError: no such message, or anything that model or protocol do not allow.
            ModelNotFoundError: its model is not served.
        """
        parts = split_request(serialized)
        if parts is None or len(parts.blobs) != 1 or len(parts.head) > _LONGEST_HEAD:
            return self._in_full(serialized, None)
        pattern = self._patterns.get(parts.head)
        if pattern is None:
            return self._in_full(serialized, parts)
        model = self._repository.get(pattern.model_name, pattern.version)
        if model is not pattern.model():
            # It was loaded anew, and may take something else now.
            return self._in_full(serialized, parts)
        given = pattern.given
        blob = parts.blobs[0]
        if given.datatype == BYTES:
            rows: Rows = decode_bytes(blob, pattern.elements, pattern.what)
        else:
            rows = decode_raw(blob, given.datatype, given.shape, pattern.what)
        inference = Inference(
            model, parts.id, rows, pattern.outputs, self._regions, pattern.timeout_us, pattern.priority
        )
        return Prepared(inference, parts.id, pattern.traced)

    def _in_full(self, serialized: bytes, parts: SplitRequest | None) -> Prepared:
        request = decode_request(decode_message(ModelInferRequest, serialized))
        model = self._repository.get(request.model, request.version)
        inference = prepare_inference(model, request, self._regions)
        traced = request.parameters.get("trace") is True
        # Regions are registered and unregistered between requests, so they are checked each time.
        if parts is not None and not any(output.region is not None for output in request.outputs):
            self._remember(parts.head, request, model, inference.outputs)
        return Prepared(inference, request.id, traced)

    def _remember(
        self, head: bytes, request: InferRequest, model: ServedModel, outputs: tuple[PlannedOutput, ...]
    ) -> None:
        if len(self._patterns) >= _MOST_PATTERNS:
            self._patterns.clear()
        (given,) = request.inputs
        timeout_us = integer_parameter(request.parameters, "timeout", "the request") or 0
        self._patterns[head] = _Pattern(
            model=weakref.ref(model),
            model_name=request.model,
            version=request.version,
            given=InferInput(given.name, given.datatype, given.shape, b""),
            what=f"input '{given.name}'",
            elements=prod(given.shape),
            outputs=outputs,
            timeout_us=min(timeout_us, LONGEST_TIMEOUT_US),
            priority=integer_parameter(request.parameters, "priority", "the request") or 0,
            traced=request.parameters.get("trace") is True,
        )
