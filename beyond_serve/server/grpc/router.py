"""Which object answers an RPC, and who may call it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import grpc

from beyond_serve.server.grpc.codec import decode_message
from beyond_serve.server.grpc.status import set_error
from beyond_serve.server.http.auth import check_bearer

Route = Callable[[Any], grpc.RpcMethodHandler]
"""From the details of one call (`method`, `invocation_metadata`) to what answers it."""

# What orchestrators probe, and cannot send a token to.
OPEN_PATHS: Final = frozenset(
    (
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/inference.GRPCInferenceService/ServerLive",
        "/inference.GRPCInferenceService/ServerReady",
    )
)


class Router(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The server's only handler: a dictionary of paths.

    gRPC asks it when a call's headers are there and before the message is: the first moment at which
    anything can be known of a call. A call without the token is refused then, its message unread.
    """

    def __init__(self, routes: Mapping[str, Route], token: str) -> None:
        """`token`: what calls must carry as `authorization: Bearer …`; empty for none."""
        self._routes = routes
        self._token = token

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler | None:
        route = self._routes.get(handler_call_details.method)
        if route is None:
            return None
        if self._token and handler_call_details.method not in OPEN_PATHS:
            given = metadata_value(handler_call_details.invocation_metadata, "authorization")
            refused = check_bearer(self._token, given)
            if refused is not None:
                return Refusal(refused)
        return route(handler_call_details)


def always(rpc: Rpc) -> Route:
    """The route of an Rpc that keeps nothing of a single call."""
    return lambda _details: rpc


def metadata_value(metadata: Any, name: str) -> str | None:
    """The first value of a metadata key, which gRPC has in lower case; None if absent."""
    for key, value in metadata:
        if key == name:
            return str(value)
    return None


class Rpc(grpc.RpcMethodHandler):  # type: ignore[misc]
    """One way to answer calls, as gRPC wants to see it.

    Without (de)serialisers messages are bytes, so that reading and writing them happens inside the
    handler, where its errors get a status and its time a stage.
    """

    request_streaming = False
    response_streaming = False
    request_deserializer = None
    response_serializer = None
    unary_unary: Any = None
    unary_stream: Any = None
    stream_unary: Any = None
    stream_stream: Any = None


class Refusal(Rpc):
    """Ends a call with an error without reading its message, hence the shape of a stream."""

    request_streaming = True
    response_streaming = True

    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def stream_stream(self, _requests: Any, context: Any) -> None:
        set_error(context, self._error)


class UnaryRpc(Rpc):
    """A method of one request and one answer, other than inference."""

    def __init__(
        self, request_class: Any, answer: Callable[[Any], Any] | Callable[[Any], Awaitable[Any]]
    ) -> None:
        """`answer` takes the request message and returns the response message, or awaits it."""
        self._request_class = request_class
        self._answer = answer

    async def unary_unary(self, serialized: bytes, context: Any) -> bytes:
        try:
            answer = self._answer(decode_message(self._request_class, serialized))
            if isinstance(answer, Awaitable):
                answer = await answer
            return bytes(answer.SerializeToString())
        except Exception as error:
            set_error(context, error)
            return b""
