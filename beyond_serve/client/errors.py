"""Errors that arise on the client's side of the wire, and the way back from a code to its class."""

from __future__ import annotations

from beyond_serve import errors
from beyond_serve.errors import BeyondError


class ServerUnreachableError(BeyondError):
    """No answer: nothing listens there, the TLS handshake failed, the connection broke or time ran out."""

    code = "server_unreachable"


class UnexpectedReplyError(BeyondError):
    """Something answered, and it does not speak this protocol (a proxy's error page, another service)."""

    code = "unexpected_reply"


class CallFailed(Exception):
    """One attempt ended with the server's own error: from a transport to the client, never to a caller.

    Attributes:
        error: what the caller gets.
        retry_after_s: how long the server asks to wait before another attempt, None if it does not say.
    """

    def __init__(self, error: BeyondError, retry_after_s: int | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.retry_after_s = retry_after_s


_BY_CODE: dict[str, type[BeyondError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, BeyondError) and kind is not BeyondError
}


def is_known_code(code: str) -> bool:
    """Whether a class of errors.py has this code; another server, or a newer one, may have more."""
    return code in _BY_CODE


def error_of_code(
    code: str, message: str, hint: str | None = None, retry_after_s: int | None = None
) -> BeyondError:
    """The error that the server raised, as the class of its `code`; `BeyondError` if unknown here."""
    kind = _BY_CODE.get(code, BeyondError)
    if kind is errors.QueueFullError:
        return errors.QueueFullError(message, hint, retry_after_s or 1)
    return kind(message, hint)


def parse_retry_after(value: str | None) -> int | None:
    """Seconds of a `Retry-After` field; None if it is absent or not a plain number of seconds."""
    if value is None or not (value.isascii() and value.isdigit()):
        return None
    return int(value)
