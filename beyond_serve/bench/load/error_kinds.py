"""What can go wrong with one request, as the generator counts it."""

from __future__ import annotations

import ssl
from enum import IntEnum


class ErrorKind(IntEnum):
    """STATUS is an answer that says no: its name comes from the status."""

    NONE = 0
    REFUSED = 1
    RESET = 2
    CLOSED = 3
    CONNECT = 4
    TLS = 5
    TIMEOUT = 6
    MALFORMED = 7
    STATUS = 8
    UNFINISHED = 9


NAMES = {
    ErrorKind.REFUSED: "connection refused",
    ErrorKind.RESET: "connection reset",
    ErrorKind.CLOSED: "connection closed before the answer ended",
    ErrorKind.CONNECT: "cannot connect",
    ErrorKind.TLS: "TLS",
    ErrorKind.TIMEOUT: "timeout",
    ErrorKind.MALFORMED: "malformed answer",
    ErrorKind.UNFINISHED: "still in flight when the run was cut short",
}

NO_CONNECTION = frozenset((ErrorKind.REFUSED, ErrorKind.CONNECT, ErrorKind.TLS))
"""After these the sender rests: at once again would only be the same, a hundred thousand times a second."""


def kind_of(error: BaseException) -> ErrorKind:
    """The kind of an exception that opening or using a connection raised."""
    match error:
        case ssl.SSLError():
            return ErrorKind.TLS
        case ConnectionRefusedError():
            return ErrorKind.REFUSED
        case ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
            return ErrorKind.RESET
        case TimeoutError():
            return ErrorKind.TIMEOUT
        case _:
            return ErrorKind.CONNECT


def status_name(status: int, *, grpc: bool) -> str:
    """How an answer's status is counted: "HTTP 503", "gRPC RESOURCE_EXHAUSTED"."""
    if not grpc:
        return f"HTTP {status}"
    import grpc as grpc_package

    names = {code.value[0]: code.name for code in grpc_package.StatusCode}
    return f"gRPC {names.get(status, str(status))}"
