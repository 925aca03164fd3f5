"""Who called, if the call is part of a distributed trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from beyond_serve.server.http.exchange import Exchange


class Caller(NamedTuple):
    """A caller that sent a `traceparent`, and what it was told. Made by transports, read by span sinks.

    traceparent, tracestate: W3C Trace Context as they came, unchecked; tracestate "" if there was none.
    span: name of the span that stands for the call; one of few.
    attributes: of that span, in the words of OpenTelemetry's semantic conventions.
    fault: the reply says that the server, not the client, is at fault.
    """

    traceparent: str
    tracestate: str
    span: str
    attributes: Mapping[str, str | int]
    fault: bool


def http_caller(exchange: Exchange, route: str, status: int) -> Caller | None:
    """Who is answered with `status`; None, at the cost of one look-up, without a `traceparent`.

    Args:
        route: the path's pattern, such as `/v2/models/{name}/infer`.
    """
    traceparent = exchange.raw_headers.get(b"traceparent")
    if traceparent is None:
        return None
    attributes: dict[str, str | int] = {
        "http.request.method": exchange.method,
        "http.route": route,
        "http.response.status_code": status,
    }
    return Caller(
        traceparent.decode("latin-1"),
        exchange.headers.get("tracestate", ""),
        f"{exchange.method} {route}",
        attributes,
        status >= 500,
    )
