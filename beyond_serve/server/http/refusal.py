"""Answers that no handler gives: the request is refused before it reaches one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from beyond_serve.errors import BeyondError
from beyond_serve.server.error_table import (
    error_document,
    http_headers,
    http_status,
    oip_error_document,
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not handled, in the words of the error shapes."""

    status: int
    code: str
    message: str
    hint: str | None = None
    headers: Sequence[tuple[str, str]] = ()

    def body(self, path: str) -> bytes:
        """The error in the JSON shape of the path: the Open Inference Protocol's under `/v2`."""
        if is_oip_path(path):
            return oip_error_document(self.message, self.hint)
        return error_document(self.code, self.message, self.hint)


def refusal_of(error: BeyondError) -> Refusal:
    return Refusal(http_status(error), error.code, error.message, error.hint, http_headers(error))


def is_oip_path(path: str) -> bool:
    return path == "/v2" or path.startswith("/v2/")
