"""Answers that no handler gives: the request is refused before it reaches one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from beyond_serve.errors import BeyondError
from beyond_serve.server.error_table import (
    ERROR_CODE_HEADER,
    error_document,
    http_status,
    oip_error_document,
    status_headers,
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not handled, in the words of the error shapes."""

    status: int
    code: str
    message: str
    hint: str | None = None
    headers: Sequence[tuple[str, str]] = ()

    @property
    def fields(self) -> Sequence[tuple[str, str]]:
        """The answer's headers: the code, which the body under `/v2` has no place for, and `headers`."""
        return ((ERROR_CODE_HEADER, self.code), *self.headers)

    def body(self, path: str) -> bytes:
        """The error in the JSON shape of the path: the Open Inference Protocol's under `/v2`."""
        if is_oip_path(path):
            return oip_error_document(self.message, self.hint)
        return error_document(self.code, self.message, self.hint)


def refusal_of(error: BeyondError) -> Refusal:
    return Refusal(http_status(error), error.code, error.message, error.hint, status_headers(error))


def is_oip_path(path: str) -> bool:
    return path == "/v2" or path.startswith("/v2/")


def head_too_large(most_bytes: int) -> Refusal:
    return Refusal(
        431, "header_too_large", f"the request's head is over {most_bytes} bytes", "send fewer headers"
    )


def body_too_large(most_bytes: int) -> Refusal:
    return Refusal(
        413, "payload_too_large", f"the body is over {most_bytes} bytes", "send less, or raise --max-body-mb"
    )
