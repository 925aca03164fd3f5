"""What every handler under `/v2` reads from an exchange and writes to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from beyond_serve.errors import BeyondError, InvalidRequestError
from beyond_serve.server.error_table import http_headers, http_status, oip_error_body

if TYPE_CHECKING:
    from beyond_serve.server.http.exchange import Exchange


class Answer:
    """A handler that answers at once, from a function that returns the JSON document or raises."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[Exchange, Mapping[str, str]], object]) -> None:
        self._read = read

    def __call__(self, exchange: Exchange, params: Mapping[str, str]) -> None:
        try:
            document = self._read(exchange, params)
        except BeyondError as error:
            refuse(exchange, error)
        else:
            exchange.respond(200, orjson.dumps(document))


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; an empty body is an empty object.

    Raises:
        InvalidRequestError: it is something else.
    """
    if not body.strip():
        return {}
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"the body is no valid JSON: {error}", "send a JSON object") from error
    if not isinstance(document, dict):
        raise InvalidRequestError("the body is no JSON object", "send {…}")
    return document


def checked_version(params: Mapping[str, str]) -> str:
    """The version of the path, "" if it names none.

    Raises:
        InvalidRequestError: no digits.
    """
    version = params.get("version", "")
    if version and not (version.isascii() and version.isdigit()):
        raise InvalidRequestError(f"version '{version[:40]}' is no number", "versions are digits, like 1")
    return version


def refuse(
    exchange: Exchange,
    error: Exception,
    headers: Sequence[tuple[str, str]] = (),
    *,
    status: int | None = None,
) -> int:
    """Answer with an error, as the protocol's clients read it; `status` where the table's does not fit."""
    return exchange.respond(
        status or http_status(error), oip_error_body(error), headers=[*http_headers(error), *headers]
    )
