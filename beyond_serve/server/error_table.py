"""The one table from errors to transports: HTTP status, gRPC status name, bodies and headers.

Exhaustive over errors.py (a test says so). gRPC codes are names, so that nothing here imports grpc.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from beyond_serve import errors

_TABLE: dict[type[BaseException], tuple[int, str]] = {
    errors.BeyondError: (500, "INTERNAL"),
    # Ends the start-up; a client that meets one met a server that should not be running.
    errors.ConfigError: (500, "INTERNAL"),
    # Met by clients that ask to load a model.
    errors.ModelLoadError: (400, "INVALID_ARGUMENT"),
    errors.InvalidRequestError: (400, "INVALID_ARGUMENT"),
    errors.UnauthorizedError: (401, "UNAUTHENTICATED"),
    errors.ModelNotFoundError: (404, "NOT_FOUND"),
    errors.PayloadTooLargeError: (413, "RESOURCE_EXHAUSTED"),
    errors.UnsupportedImageError: (415, "INVALID_ARGUMENT"),
    errors.ImageDecodeError: (422, "INVALID_ARGUMENT"),
    errors.QueueFullError: (429, "RESOURCE_EXHAUSTED"),
    errors.DeadlineExceededError: (504, "DEADLINE_EXCEEDED"),
    errors.ShuttingDownError: (503, "UNAVAILABLE"),
    errors.InstanceLostError: (503, "UNAVAILABLE"),
    errors.EngineError: (500, "INTERNAL"),
}

ERROR_CODE_HEADER = "Error-Code"

_UNKNOWN = errors.BeyondError("the server failed to handle the request", "its log says why; please report it")


def http_status(error: BaseException) -> int:
    """HTTP status of an error; 500 for anything that is not ours."""
    return _row(error)[0]


def grpc_code(error: BaseException) -> str:
    """Name of the error's `grpc.StatusCode`; "INTERNAL" for anything that is not ours."""
    return _row(error)[1]


def error_code(error: BaseException) -> str:
    """The error's `BeyondError.code`; "internal" for anything that is not ours."""
    return _known(error).code


def http_headers(error: BaseException) -> Sequence[tuple[str, str]]:
    """`Error-Code`, for the body under `/v2` has no place for it, and what the error's status asks for."""
    return ((ERROR_CODE_HEADER, error_code(error)), *status_headers(error))


def status_headers(error: BaseException) -> Sequence[tuple[str, str]]:
    """Headers that the error's status asks for."""
    if isinstance(error, errors.QueueFullError):
        return (("Retry-After", str(error.retry_after_s)),)
    if isinstance(error, errors.UnauthorizedError):
        return (("WWW-Authenticate", "Bearer"),)
    return ()


def error_body(error: BaseException) -> bytes:
    """JSON body outside `/v2`: `{"error": {"code", "message", "hint"?}}`."""
    known = _known(error)
    return error_document(known.code, known.message, known.hint)


def oip_error_body(error: BaseException) -> bytes:
    """JSON body under `/v2`: `{"error": "message; hint"}`."""
    known = _known(error)
    return oip_error_document(known.message, known.hint)


def grpc_details(error: BaseException) -> str:
    """The status message of gRPC: as `oip_error_body` says it."""
    known = _known(error)
    return one_sentence(known.message, known.hint)


def error_document(code: str, message: str, hint: str | None) -> bytes:
    parts = {"code": code, "message": message}
    if hint is not None:
        parts["hint"] = hint
    return _dumps({"error": parts})


def oip_error_document(message: str, hint: str | None) -> bytes:
    return _dumps({"error": one_sentence(message, hint)})


def one_sentence(message: str, hint: str | None) -> str:
    return message if hint is None else f"{message}; {hint}"


def _row(error: BaseException) -> tuple[int, str]:
    for kind in type(error).__mro__:
        if kind in _TABLE:
            return _TABLE[kind]
    return _TABLE[errors.BeyondError]


def _known(error: BaseException) -> errors.BeyondError:
    """The error itself, or a stand-in that keeps the insides of a foreign one from the client."""
    return error if isinstance(error, errors.BeyondError) else _UNKNOWN


def _dumps(document: object) -> bytes:
    # Not orjson: a message may quote a client's lone surrogates, which orjson refuses to encode.
    return json.dumps(document, separators=(",", ":")).encode()
