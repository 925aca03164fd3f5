"""HTTP and gRPC side by side over the same models."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator, Sequence

from beyond_serve.server.announce import announce_grpc, announce_http
from beyond_serve.server.app import PlainRoutes
from beyond_serve.server.config import Address, ServerConfig
from beyond_serve.server.grpc.options import GrpcOptions
from beyond_serve.server.grpc.server import GrpcServer
from beyond_serve.server.http.auth import BearerGate
from beyond_serve.server.http.limits import HttpLimits
from beyond_serve.server.http.router import Router
from beyond_serve.server.http.server import HttpServer, create_http_server
from beyond_serve.server.http.tls import server_context
from beyond_serve.server.metrics import Metrics
from beyond_serve.server.model import Model
from beyond_serve.server.oip.shared_memory import RegionTable
from beyond_serve.server.repository import ModelRepository
from beyond_serve.server.v2.routes import v2_routes

# What orchestrators probe, and cannot send a token to.
OPEN_PATHS = frozenset(("/healthz", "/v2/health/live", "/v2/health/ready"))


class Transports:
    """Owns both front ends and the shared-memory regions that clients register through either."""

    def __init__(
        self,
        config: ServerConfig,
        repository: ModelRepository,
        metrics: Metrics,
        stopping: Callable[[], bool],
    ) -> None:
        self._config = config
        self._repository = repository
        self._regions = RegionTable(allowed=config.allow_client_shm)
        routes = PlainRoutes(repository, metrics, stopping).routes()
        self._router = Router([*routes, *v2_routes(config, repository, self._regions, stopping)])
        self._stopping = stopping
        self._tls: ssl.SSLContext | None = None
        self._http: HttpServer | None = None
        self._grpc: GrpcServer | None = None

    def check(self) -> None:
        """Find what can be found wrong before models are loaded.

        Raises:
            ConfigError: a TLS file cannot be used.
        """
        if self._config.tls_cert:
            self._tls = server_context(self._config.tls_cert, self._config.tls_key)

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: an address cannot be listened on.
        """
        config = self._config
        if config.http is not None:
            gate = self._router.gate
            if config.token:
                gate = BearerGate(config.token, OPEN_PATHS, gate)
            self._http = await create_http_server(
                asyncio.get_running_loop(),
                self._router,
                _limits(config),
                config.http.host,
                config.http.port,
                ssl=self._tls,
                gate=gate,
            )
        if config.grpc is not None:
            options = GrpcOptions.from_config(config, config.grpc)
            self._grpc = GrpcServer(options, self._repository, self._regions, self._stopping)
            await self._grpc.start()

    def announce(self, models: Sequence[Model]) -> Iterator[str]:
        """Where the server listens, in words; ports of 0 have become real."""
        tls, token = self._tls is not None, bool(self._config.token)
        if self._http is not None and self._config.http is not None:
            yield from announce_http(
                Address(self._config.http.host, self._http.port), models, tls=tls, token=token
            )
        if self._grpc is not None and self._config.grpc is not None:
            yield announce_grpc(Address(self._config.grpc.host, self._grpc.port), tls=tls)

    async def stop(self, drain_s: float) -> bool:
        """Accept nothing more and answer what was accepted; whether that took at most `drain_s`."""
        loop = asyncio.get_running_loop()
        drains = []
        if self._http is not None:
            drains.append(self._http.drain(loop.time() + drain_s))
        if self._grpc is not None:
            drains.append(self._grpc.stop(drain_s))
        done = await asyncio.gather(*drains)
        self._http = self._grpc = None
        return all(done)

    async def abort(self) -> None:
        """Drop whatever is still open; nothing if `stop` came first."""
        await self.stop(0)
        self._regions.close()


def _limits(config: ServerConfig) -> HttpLimits:
    return HttpLimits(
        max_body_bytes=config.max_body_bytes,
        max_connections=config.max_connections,
        header_timeout_s=config.header_timeout_s,
        body_timeout_s=config.body_timeout_s,
        idle_timeout_s=config.idle_timeout_s,
    )
