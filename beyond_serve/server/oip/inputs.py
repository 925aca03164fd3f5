"""From a request's inputs to the rows that a model is given."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.protocol import EngineInfo, TensorSpec
from beyond_serve.errors import InvalidRequestError
from beyond_serve.server.oip.served_model import ServedModel
from beyond_serve.server.oip.shared_memory import RegionTable
from beyond_serve.server.oip.signature import (
    IMAGE_INPUT,
    described,
    listed_inputs,
    takes_images,
    tensor_input,
)
from beyond_serve.wire.datatypes import BYTES, TensorData, numpy_dtype
from beyond_serve.wire.oip import InferInput, RegionSlice
from beyond_serve.wire.raw_tensor import decode_raw

Rows = list[bytes] | NDArray[np.generic]
"""Encoded images, or preprocessed rows [n, …] in the dtype of the model's own input."""


def read_rows(model: ServedModel, inputs: tuple[InferInput, ...], regions: RegionTable) -> Rows:
    """Check the inputs and decode the one that is there.

    Names, datatypes and shapes are checked before a byte of the data is looked at.

    Raises:
        InvalidRequestError: not exactly one input, or it is not one that the model takes.
    """
    info = model.info
    if len(inputs) != 1:
        raise _not_one(model, inputs)
    given = inputs[0]
    tensor = tensor_input(info)
    # A model may call its tensor `image`; then the datatype tells which of the two is meant.
    own = tensor is not None and given.name == tensor.name
    if given.name == IMAGE_INPUT and takes_images(info) and (given.datatype == BYTES or not own):
        return _images(model, given, regions)
    if own:
        assert tensor is not None
        return _tensor(model, tensor, given, regions)
    raise _unknown(model, given)


def raw_input(info: EngineInfo, body: bytes) -> InferInput:
    """The input of a raw request, whose whole body is one image, or rows of the tensor.

    Raises:
        InvalidRequestError: the model's tensor has free sizes, or the body is no whole number of rows.
    """
    if takes_images(info):
        return InferInput(IMAGE_INPUT, BYTES, (1,), [body])
    tensor = tensor_input(info)
    if tensor is None or min(tensor.shape[1:], default=1) < 1:
        raise InvalidRequestError(
            "a raw request (Inference-Header-Content-Length: 0) cannot say the shape that this model needs",
            "send the JSON part with the tensor's shape",
        )
    row_size = prod(tensor.shape[1:]) * numpy_dtype(tensor.datatype).itemsize
    count, rest = divmod(len(body), row_size)
    if rest or not count:
        raise InvalidRequestError(
            f"a raw body of {len(body)} bytes is no whole number of rows of '{tensor.name}'",
            f"a row {tensor.datatype} {list(tensor.shape[1:])} takes {row_size} bytes",
        )
    return InferInput(tensor.name, tensor.datatype, (count, *tensor.shape[1:]), body)


def _images(model: ServedModel, given: InferInput, regions: RegionTable) -> list[bytes]:
    shape = given.shape
    if given.datatype != BYTES:
        raise InvalidRequestError(
            f"input '{IMAGE_INPUT}' is {given.datatype}, encoded images are BYTES",
            _alternative(model) or "send each image file's bytes as one element",
        )
    if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)) or shape[0] < 1:
        raise InvalidRequestError(
            f"input '{IMAGE_INPUT}' has the shape {list(shape)}",
            "n images have the shape [n] or [n, 1], n at least 1",
        )
    _check_count(model, shape[0])
    data = _decoded(given, regions)
    if not isinstance(data, list) or len(data) != shape[0]:
        raise _wrong_count(given)
    return data


def _tensor(
    model: ServedModel, spec: TensorSpec, given: InferInput, regions: RegionTable
) -> NDArray[np.generic]:
    shape = given.shape
    if given.datatype != spec.datatype:
        raise InvalidRequestError(
            f"input '{given.name}' is {given.datatype}, model '{model.name}' takes {spec.datatype}",
            f"convert it to {spec.datatype}",
        )
    fits = len(shape) == len(spec.shape) and all(
        size == wanted or (wanted == -1 and size >= 1) for size, wanted in zip(shape, spec.shape, strict=True)
    )
    if not fits:
        raise InvalidRequestError(
            f"input '{given.name}' has the shape {list(shape)}, the model takes {list(spec.shape)}",
            "the first size is the number of rows, at least 1",
        )
    _check_count(model, shape[0])
    data = _decoded(given, regions)
    if isinstance(data, list) or data.size != prod(shape):
        raise _wrong_count(given)
    if data.dtype != numpy_dtype(spec.datatype):
        raise InvalidRequestError(
            f"input '{given.name}' holds {data.dtype} elements, not {spec.datatype}", "send what it declares"
        )
    return data.reshape(shape)


def _decoded(given: InferInput, regions: RegionTable) -> TensorData:
    data = given.data
    if isinstance(data, list | np.ndarray):
        return data
    raw = regions.read(data) if isinstance(data, RegionSlice) else data
    return decode_raw(raw, given.datatype, given.shape, f"input '{given.name}'")


def _check_count(model: ServedModel, count: int) -> None:
    # Before the elements are made: a small body can declare millions of empty ones.
    if count > model.capacity:
        raise InvalidRequestError(
            f"the request holds {count} images or rows, the queue of '{model.name}' at most {model.capacity}",
            "send fewer at once, or raise --max-queue",
        )


def _not_one(model: ServedModel, inputs: tuple[InferInput, ...]) -> InvalidRequestError:
    takes = f"model '{model.name}' takes one of: {described(listed_inputs(model.info))}"
    names = [given.name for given in inputs]
    if not names:
        return InvalidRequestError("the request has no inputs", takes)
    for given in inputs:
        if names.count(given.name) > 1:
            return InvalidRequestError(f"input '{given.name}' is given twice", takes)
    known = {spec.name for spec in listed_inputs(model.info)}
    for given in inputs:
        if given.name not in known:
            return _unknown(model, given)
    return InvalidRequestError(f"the inputs {', '.join(sorted(names))} are alternatives", takes)


def _unknown(model: ServedModel, given: InferInput) -> InvalidRequestError:
    takes = f"it takes: {described(listed_inputs(model.info))}"
    if given.name == IMAGE_INPUT:
        return InvalidRequestError(f"model '{model.name}' takes no encoded images", takes)
    if tensor_input(model.info) is None:
        return InvalidRequestError(
            f"model '{model.name}' takes encoded images only, not the input '{given.name}'", takes
        )
    return InvalidRequestError(f"model '{model.name}' has no input '{given.name}'", takes)


def _alternative(model: ServedModel) -> str | None:
    tensor = tensor_input(model.info)
    return None if tensor is None else f"a preprocessed tensor goes into '{tensor.name}'"


def _wrong_count(given: InferInput) -> InvalidRequestError:
    return InvalidRequestError(
        f"input '{given.name}' does not hold the {prod(given.shape)} elements of {list(given.shape)}",
        "let the shape and the data agree",
    )
