"""An inference request and its answer, as both transports understand them.

Source: Open Inference Protocol v2 (kserve/open-inference-protocol) with Triton's extensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from beyond_serve.wire.datatypes import TensorData

Parameters = Mapping[str, Any]
"""Values are bool, int, float or str, as JSON or gRPC's InferParameter had them."""


class RegionSlice(NamedTuple):
    """Bytes of a registered shared memory region, where a tensor lies or shall be written."""

    region: str
    offset: int
    byte_size: int


@dataclass(frozen=True, slots=True)
class InferInput:
    """An input tensor.

    Attributes:
        shape: with the batch axis first.
        data: decoded; or the raw bytes of the tensor's binary form, little-endian and row-major, which
            whoever knows the model decodes (a transport need not look at them); or where they lie.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: TensorData | bytes | memoryview | RegionSlice
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that is asked for, and how it shall come.

    Attributes:
        classification: how many classes as `value:index[:label]`, 0 for the tensor itself.
        binary: HTTP only; None leaves it to the request's `binary_data_output`.
        region: write it there, and not into the answer.
    """

    name: str
    classification: int = 0
    binary: bool | None = None
    region: RegionSlice | None = None


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What a client asks of a model.

    Attributes:
        version: digits, or "" for whichever is served.
        id: what the answer repeats, "" for none.
        outputs: in the order wanted; empty means all.
    """

    model: str
    version: str
    id: str
    inputs: tuple[InferInput, ...]
    outputs: tuple[RequestedOutput, ...] = ()
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """An output tensor; `data` is None if it was written to shared memory, which `parameters` name."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: TensorData | None
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InferResponse:
    model: str
    version: str
    id: str
    outputs: tuple[OutputTensor, ...]
    parameters: Parameters = field(default_factory=dict)
