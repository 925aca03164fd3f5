"""Reading the extensions' parameters, which come as JSON values or as gRPC's InferParameter."""

from __future__ import annotations

from beyond_serve.errors import InvalidRequestError
from beyond_serve.wire.oip import Parameters, RegionSlice

_MOST = 2**63 - 1


def integer_parameter(parameters: Parameters, name: str, what: str, least: int = 0) -> int | None:
    """A whole number, or None if absent; `what` names the owner of the parameters in errors.

    Raises:
        InvalidRequestError: no whole number (True is none), or out of range.
    """
    value = parameters.get(name)
    if value is None and name not in parameters:
        return None
    if type(value) is not int or not least <= value <= _MOST:
        raise InvalidRequestError(
            f"{what}: parameter '{name}' is {_shown(value)}", f"give a whole number of at least {least}"
        )
    return value


def flag_parameter(parameters: Parameters, name: str, what: str) -> bool | None:
    """True, False, or None if absent.

    Raises:
        InvalidRequestError: anything else.
    """
    value = parameters.get(name)
    if value is None and name not in parameters:
        return None
    if type(value) is not bool:
        raise InvalidRequestError(f"{what}: parameter '{name}' is {_shown(value)}", "give true or false")
    return value


def region_parameter(parameters: Parameters, what: str) -> RegionSlice | None:
    """Where in shared memory a tensor lies, or None if it lies in the message.

    Raises:
        InvalidRequestError: incomplete or malformed.
    """
    region = parameters.get("shared_memory_region")
    byte_size = integer_parameter(parameters, "shared_memory_byte_size", what)
    offset = integer_parameter(parameters, "shared_memory_offset", what)
    if region is None and byte_size is None and offset is None:
        return None
    if not isinstance(region, str) or not region or byte_size is None:
        raise InvalidRequestError(
            f"{what}: shared memory needs both shared_memory_region (a name) and shared_memory_byte_size",
            "give both, or neither",
        )
    return RegionSlice(region, offset or 0, byte_size)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
