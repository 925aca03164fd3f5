"""From a model's output arrays to the tensors that a request asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import Request
from beyond_serve.engines.protocol import EngineInfo, TensorSpec
from beyond_serve.errors import InvalidRequestError
from beyond_serve.server.call import outputs_of
from beyond_serve.server.oip.shared_memory import RegionTable
from beyond_serve.server.oip.signature import described
from beyond_serve.wire.datatypes import BYTES, TensorData, datatype_of
from beyond_serve.wire.oip import OutputTensor, RegionSlice, RequestedOutput
from beyond_serve.wire.raw_tensor import encode_raw, raw_size


class PlannedOutput(NamedTuple):
    """A requested output that exists, and what the model says of it.

    labels: class names if this output holds the class scores.
    top_k: answer so many best classes by their probabilities, 0 for what `requested` says.
    """

    requested: RequestedOutput
    spec: TensorSpec
    labels: tuple[str, ...] | None
    top_k: int = 0

    @property
    def datatype(self) -> str:
        """As it will be answered."""
        return BYTES if self.requested.classification or self.top_k else self.spec.datatype


def plan_outputs(
    info: EngineInfo, labels: tuple[str, ...] | None, requested: tuple[RequestedOutput, ...]
) -> tuple[PlannedOutput, ...]:
    """What to answer, in the order asked; everything if nothing is asked.

    Raises:
        InvalidRequestError: an output that does not exist, is asked for twice or is no class scores.
    """
    if not requested:
        requested = tuple([RequestedOutput(spec.name) for spec in info.outputs])
    specs = {spec.name: spec for spec in info.outputs}
    planned: list[PlannedOutput] = []
    for output in requested:
        spec = specs.get(output.name)
        if spec is None:
            raise InvalidRequestError(
                f"the model has no output '{output.name}'", f"its outputs: {described(info.outputs)}"
            )
        if any(output.name == other.requested.name for other in planned):
            raise InvalidRequestError(f"output '{output.name}' is asked for twice", "ask once")
        if output.classification:
            _check_classification(output, spec)
        planned.append(PlannedOutput(output, spec, labels if spec.name == info.scores else None))
    return tuple(planned)


def plan_top_classes(
    info: EngineInfo, labels: tuple[str, ...] | None, requested: tuple[RequestedOutput, ...], top_k: int
) -> tuple[PlannedOutput]:
    """What the request's parameter `top_k` asks for: the class scores, ranked, and nothing beside.

    An extension of our own. Triton's `classification` ranks what the model puts out, which may be
    logits; this ranks probabilities, as `/predict` does.

    Raises:
        InvalidRequestError: the model has no class scores, or outputs are asked for as well.
    """
    if requested:
        raise InvalidRequestError(
            f"the request has the parameter 'top_k' and asks for the output '{requested[0].name}'",
            "with top_k leave the outputs out; or ask for an output with its parameter 'classification'",
        )
    spec = next((spec for spec in info.outputs if spec.name == info.scores), None)
    if spec is None:
        raise InvalidRequestError(
            "the model has no class scores to rank", f"its outputs: {described(info.outputs)}"
        )
    return (PlannedOutput(RequestedOutput(spec.name), spec, labels, top_k),)


def _check_classification(output: RequestedOutput, spec: TensorSpec) -> None:
    if spec.datatype in (BYTES, "BF16"):
        raise InvalidRequestError(
            f"output '{output.name}' is {spec.datatype} and cannot be classified", "ask for the tensor itself"
        )
    if output.region is not None:
        raise InvalidRequestError(
            f"output '{output.name}' is asked for as classes and in shared memory", "ask for one of them"
        )


def make_output(planned: PlannedOutput, rows: NDArray[np.generic], regions: RegionTable) -> OutputTensor:
    """The answer's tensor; `rows` [n, …] is the model's.

    Raises:
        InvalidRequestError: it does not fit where in shared memory it should go.
    """
    requested = planned.requested
    if requested.classification:
        elements, shape = _classes(rows, requested.classification, planned.labels)
        return OutputTensor(requested.name, BYTES, shape, elements)
    datatype = planned.spec.datatype
    if datatype != "BF16":  # which arrives as uint16, see datatypes.py
        datatype = datatype_of(rows)
    if requested.region is None:
        return OutputTensor(requested.name, datatype, rows.shape, rows)
    parameters = _write(requested.name, rows, requested.region, regions)
    return OutputTensor(requested.name, datatype, rows.shape, None, parameters)


def make_top_classes(planned: PlannedOutput, requests: Sequence[Request]) -> OutputTensor:
    """The answer to `top_k`: BYTES [n, k] of `probability:index[:label]` of n requests that succeeded."""
    elements: list[bytes] = []
    for request in requests:
        outputs = outputs_of(request)
        assert outputs.top_scores is not None
        assert outputs.top_indices is not None
        # A batch ranks as many classes as its most demanding request asked for.
        scores = outputs.top_scores[request.index, : planned.top_k].tolist()
        indices = outputs.top_indices[request.index, : planned.top_k].tolist()
        elements += [
            _class(score, index, planned.labels) for score, index in zip(scores, indices, strict=True)
        ]
    return OutputTensor(planned.spec.name, BYTES, (len(requests), len(elements) // len(requests)), elements)


def _write(name: str, data: TensorData, region: RegionSlice, regions: RegionTable) -> dict[str, object]:
    """Put a tensor into shared memory; the parameters that tell the client where it is."""
    size = raw_size(data)
    if size > region.byte_size:
        raise InvalidRequestError(
            f"output '{name}' takes {size} bytes, shared_memory_byte_size is {region.byte_size}",
            "give it a larger part of the region",
        )
    regions.write(region, encode_raw(data))
    parameters: dict[str, object] = {
        "shared_memory_region": region.region,
        "shared_memory_byte_size": size,
    }
    if region.offset:
        parameters["shared_memory_offset"] = region.offset
    return parameters


def _classes(
    rows: NDArray[np.generic], count: int, labels: tuple[str, ...] | None
) -> tuple[list[bytes], tuple[int, int]]:
    """`value:index[:label]` of each row's `count` largest, falling, equal ones by index; all if fewer."""
    scores = rows.reshape(len(rows), -1)
    classes = scores.shape[1]
    count = min(count, classes)
    # Sorted by the output's own dtype, unsigned ones included: rising and stable on the reversed row.
    order = classes - 1 - np.argsort(scores[:, ::-1], axis=1, kind="stable")[:, ::-1][:, :count]
    elements = [
        _class(row[index], index, labels)
        for row, best in zip(scores, order.tolist(), strict=True)
        for index in best
    ]
    return elements, (len(rows), count)


def _class(value: np.generic | float, index: int, labels: tuple[str, ...] | None) -> bytes:
    text = f"{value}:{index}"
    if labels is not None and index < len(labels):
        text = f"{text}:{labels[index]}"
    return text.encode()
