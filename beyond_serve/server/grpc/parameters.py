"""The protocol's parameters: a map of InferParameter messages, a plain mapping inside the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beyond_serve.errors import InvalidRequestError
from beyond_serve.wire.oip import Parameters

_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**64)


def read_parameters(messages: Mapping[str, Any], what: str) -> Parameters:
    """A map of InferParameter as a plain mapping; `what` names their owner in errors.

    Raises:
        InvalidRequestError: a parameter without a value.
    """
    parameters: dict[str, Any] = {}
    for name, message in messages.items():
        choice = message.WhichOneof("parameter_choice")
        if choice is None:
            raise InvalidRequestError(
                f"{what}: parameter '{name[:40]}' has no value", "set one of the fields of InferParameter"
            )
        parameters[name] = getattr(message, choice)
    return parameters


def write_parameters(parameters: Parameters, messages: Any) -> None:
    """Fill a map of InferParameter; values are bool, int, float or str.

    Raises:
        TypeError, ValueError: a value that InferParameter cannot hold, a fault of the server's own.
    """
    for name, value in parameters.items():
        message = messages[name]
        if isinstance(value, bool):
            message.bool_param = value
        elif isinstance(value, int):
            if value in _INT64:
                message.int64_param = value
            elif value in _UINT64:
                message.uint64_param = value
            else:
                raise ValueError(f"parameter '{name}' fits in no 64 bits")
        elif isinstance(value, float):
            message.double_param = value
        elif isinstance(value, str):
            message.string_param = value
        else:
            raise TypeError(f"parameter '{name}' is {type(value).__name__}")
