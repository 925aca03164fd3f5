"""One request before the load, by another implementation than the load's: does the server take it at all?"""

from __future__ import annotations

import http.client
import socket
import ssl
from pathlib import Path
from typing import Any

from beyond_serve.bench.load.grpc_wire import CHANNEL_OPTIONS, grpc_target
from beyond_serve.bench.load.plan import WirePlan
from beyond_serve.bench.load.wire import ssl_context
from beyond_serve.client.endpoint import Endpoint
from beyond_serve.client.errors import CallFailed, ServerUnreachableError, UnexpectedReplyError
from beyond_serve.client.grpc_codec import failure_of
from beyond_serve.client.http_codec import Reply, check_reply
from beyond_serve.errors import DeadlineExceededError, QueueFullError, ShuttingDownError
from beyond_serve.wire.messages import METHODS

_OVERLOADED = (QueueFullError, ShuttingDownError, DeadlineExceededError)


def probe(plan: WirePlan, endpoint: Endpoint) -> None:
    """Send the first request once.

    Raises:
        BeyondError: the server cannot be reached, or says no for another reason than load.
    """
    try:
        if plan.is_grpc:
            _probe_grpc(plan, endpoint)
        else:
            _probe_http(plan, endpoint)
    except CallFailed as failed:
        if not isinstance(failed.error, _OVERLOADED):
            raise failed.error from None


def _probe_http(plan: WirePlan, endpoint: Endpoint) -> None:
    try:
        with socket.create_connection((plan.host, plan.port), plan.timeout_s) as plain:
            if plan.tls is None:
                reply = _exchange(plain, plan, endpoint.url)
            else:
                with ssl_context(plan.tls).wrap_socket(plain, server_hostname=plan.server_name) as secure:
                    reply = _exchange(secure, plan, endpoint.url)
    except http.client.HTTPException as error:
        raise UnexpectedReplyError(
            f"{endpoint.url} does not answer in HTTP/1.1: {_words(error)}", "check the port and the protocol"
        ) from None
    except OSError as error:
        raise ServerUnreachableError(f"cannot reach {endpoint.url}: {_words(error)}", _hint(error)) from None
    check_reply(reply)


def _exchange(connection: socket.socket, plan: WirePlan, url: str) -> Reply:
    connection.sendall(plan.payloads[0])
    response = http.client.HTTPResponse(connection, method="POST")
    response.begin()
    headers = {name.title(): value for name, value in response.headers.items()}
    return Reply(url, response.status, headers, response.read())


def _probe_grpc(plan: WirePlan, endpoint: Endpoint) -> None:
    import grpc

    target = grpc_target(plan)
    if plan.tls is None:
        channel = grpc.insecure_channel(target, options=CHANNEL_OPTIONS)
    else:
        roots = Path(plan.tls.ca).read_bytes() if plan.tls.ca else None
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), options=CHANNEL_OPTIONS)
    with channel:
        try:
            call = channel.unary_unary(METHODS["ModelInfer"].path)
            call(plan.payloads[0], metadata=plan.metadata, timeout=plan.timeout_s)
        except grpc.RpcError as error:
            raise _grpc_failure(error, endpoint) from None


def _grpc_failure(error: Any, endpoint: Endpoint) -> Exception:
    trailing = dict(error.trailing_metadata() or ())
    return failure_of(error.code(), error.details() or "", trailing, endpoint)


def _words(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"the TLS handshake failed: {error.reason or error}"
        case TimeoutError():
            return "no answer in time"
        case OSError() if error.strerror:
            return error.strerror
        case _:
            return " ".join(str(error).split()) or type(error).__name__


def _hint(error: OSError) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return "name the authority that signed it with --ca, or use --insecure"
        case ssl.SSLError():
            return "check that the server speaks TLS on this port"
        case TimeoutError():
            return "raise the timeout, or look at the server's log"
        case _:
            return "check that the server runs there and listens on this address and port"
