"""HTTP/1.1 by aiohttp: pooled connections, `/predict` for images and OIP v2 for the rest."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp
from numpy.typing import NDArray
from yarl import URL

from beyond_serve.client import http_codec
from beyond_serve.client.endpoint import Endpoint
from beyond_serve.client.errors import ServerUnreachableError
from beyond_serve.client.http_codec import Reply, check_reply
from beyond_serve.client.results import ModelMetadata, ModelStatus, Prediction
from beyond_serve.client.transport import PredictOptions
from beyond_serve.errors import BeyondError
from beyond_serve.wire.oip import InferRequest

CONNECT_TIMEOUT_S = 10.0

_LARGE_BODY = 1 << 20
"""From here on aiohttp warns of bodies given as bytes, and sends a BytesIO piecemeal without complaint."""

_NOT_READY = (400, 404, 503)


class HttpTransport:
    """Owns a session and its connections; belongs to the event loop that is running when it is made."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=endpoint.ssl_context(), limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            # Compressing scores costs more than sending them.
            headers={"Accept-Encoding": "identity", **endpoint.authorization()},
        )

    async def predict(
        self, images: Sequence[bytes], options: PredictOptions
    ) -> list[Prediction | BeyondError]:
        if len(images) == 1:
            content_type, body = "application/octet-stream", images[0]
        else:
            content_type, body = http_codec.multipart_body(images)
        path = f"/predict?{http_codec.predict_query(options)}"
        reply = await self._send("POST", path, body, {"Content-Type": content_type})
        return http_codec.predictions_of(check_reply(reply), len(images))

    async def infer(self, request: InferRequest) -> dict[str, NDArray[Any]]:
        headers, body = http_codec.infer_body(request)
        reply = await self._send("POST", f"{_model_path(request.model)}/infer", body, headers)
        return http_codec.outputs_of(check_reply(reply))

    async def models(self) -> list[ModelStatus]:
        reply = await self._send("POST", "/v2/repository/index", b"{}", _JSON)
        return http_codec.models_of(check_reply(reply))

    async def metadata(self, name: str) -> ModelMetadata:
        return http_codec.metadata_of(check_reply(await self._send("GET", _model_path(name))))

    async def statistics(self, name: str) -> dict[str, Any]:
        return http_codec.statistics_of(check_reply(await self._send("GET", f"{_model_path(name)}/stats")))

    async def ready(self, name: str | None) -> bool:
        return await self._health("/v2/health/ready" if name is None else f"{_model_path(name)}/ready")

    async def live(self) -> bool:
        return await self._health("/v2/health/live")

    async def load(self, name: str) -> None:
        check_reply(await self._send("POST", f"/v2/repository/models/{_quoted(name)}/load", b"{}", _JSON))

    async def unload(self, name: str) -> None:
        check_reply(await self._send("POST", f"/v2/repository/models/{_quoted(name)}/unload", b"{}", _JSON))

    async def close(self) -> None:
        await self._session.close()

    async def _health(self, path: str) -> bool:
        reply = await self._send("GET", path)
        if reply.status in _NOT_READY:
            return False
        check_reply(reply)
        return True

    async def _send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        try:
            try:
                return await self._exchange(method, path, body, headers)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if isinstance(error, aiohttp.ClientConnectorError):
                    raise
            # A pooled connection that the server closed just as it was taken. Every call may be repeated.
            return await self._exchange(method, path, body, headers)
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(self._endpoint, error) from error

    async def _exchange(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None
    ) -> Reply:
        url = self._endpoint.url + path
        data = io.BytesIO(body) if len(body) >= _LARGE_BODY else body
        async with self._session.request(
            method,
            URL(url, encoded=True),
            data=data if method == "POST" else None,
            headers=headers,
            allow_redirects=False,
        ) as response:
            return Reply(url, response.status, response.headers, await response.read())


_JSON = {"Content-Type": "application/json"}


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _model_path(name: str) -> str:
    return f"/v2/models/{_quoted(name)}"


def unreachable(endpoint: Endpoint, error: Exception) -> ServerUnreachableError:
    """What aiohttp and the operating system raise, as the one error of this kind."""
    reason = str(error) or type(error).__name__
    hint = "check that the server runs there and listens on this address and port"
    match error:
        case aiohttp.ClientConnectorCertificateError():
            reason = f"its certificate is not trusted: {error.certificate_error}"
            hint = "pass verify='path/to/ca.pem' with the authority that signed it"
        case aiohttp.ClientSSLError():
            reason, hint = (
                f"the TLS handshake failed: {reason}",
                "check that the server speaks TLS on this port",
            )
        case aiohttp.ClientConnectorError():
            reason = _words_of(error.os_error)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | aiohttp.ClientOSError():
            reason, hint = f"the connection broke: {reason}", "the server's log may say why"
        case TimeoutError():
            reason = f"no connection within {CONNECT_TIMEOUT_S:g} s"
    return ServerUnreachableError(f"cannot reach {endpoint.url}: {reason}", hint)


def _words_of(error: OSError) -> str:
    # asyncio writes "Connect call failed" with the address where the system says why; name errors are
    # gaierror, whose numbers are not the system's.
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)
