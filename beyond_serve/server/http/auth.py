"""The bearer token: one secret for all who may use the server, over HTTP and gRPC."""

from __future__ import annotations

import hmac

from beyond_serve.errors import UnauthorizedError
from beyond_serve.server.http.exchange import Gate, RequestHead
from beyond_serve.server.http.refusal import Refusal, refusal_of

_HINT = "send the header 'Authorization: Bearer TOKEN' with the server's token"


def check_bearer(token: str, authorization: str | None) -> UnauthorizedError | None:
    """The error to answer with, or None if `authorization` (the header's value) carries the token.

    The time it takes says nothing about how much of the token was right.
    """
    if authorization is None:
        return UnauthorizedError("the Authorization header is missing", _HINT)
    scheme, _, offered = authorization.strip().partition(" ")
    if scheme.lower() != "bearer":
        return UnauthorizedError("the Authorization header is no bearer token", _HINT)
    # As bytes, for compare_digest refuses text beyond ASCII. Headers are Latin-1 on the wire, so a token
    # typed in UTF-8 arrives as its bytes.
    sent = offered.strip().encode("latin-1", "replace")
    if not hmac.compare_digest(sent, token.encode()):
        return UnauthorizedError("the bearer token is wrong", _HINT)
    return None


class BearerGate:
    """A gate that lets only holders of the token pass on to the next gate.

    Args:
        token: not empty.
        open_paths: paths that need no token, for orchestrators' probes.
        then: asked once the token was right, or not needed.
    """

    def __init__(self, token: str, open_paths: frozenset[str], then: Gate) -> None:
        if not token:
            raise ValueError("an empty token would let everyone in")
        self._token = token
        self._open_paths = open_paths
        self._then = then

    def __call__(self, head: RequestHead) -> Refusal | None:
        if head.raw_path not in self._open_paths:
            error = check_bearer(self._token, head.headers.get("authorization"))
            if error is not None:
                return refusal_of(error)
        return self._then(head)
