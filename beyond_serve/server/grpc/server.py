"""The gRPC front end: the service, its limits, and its life from binding a port to the last answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from beyond_serve.errors import ConfigError
from beyond_serve.server.grpc.core_log import expect_leaving_clients
from beyond_serve.server.grpc.health import Health
from beyond_serve.server.grpc.methods import Methods
from beyond_serve.server.grpc.options import GrpcOptions
from beyond_serve.server.grpc.reflection import reflection_routes
from beyond_serve.server.grpc.router import Route, Router, always
from beyond_serve.server.grpc.setting_methods import SettingMethods
from beyond_serve.server.grpc.stream_infer import StreamInfer
from beyond_serve.server.grpc.unary_infer import InferRoute
from beyond_serve.server.oip.served_model import Repository
from beyond_serve.server.oip.shared_memory import RegionTable
from beyond_serve.wire.messages import METHODS


class GrpcServer:
    """Serves the Open Inference Protocol, health and reflection on one port. Lives on one event loop.

    Args:
        repository: the models.
        regions: shared memory that clients registered, the same table as HTTP's.
        stopping: whether the server has begun to stop; readiness then says so.
    """

    def __init__(
        self,
        options: GrpcOptions,
        repository: Repository,
        regions: RegionTable,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._options = options
        self._closing = asyncio.Event()
        self._repository = repository
        self._told_to_stop = stopping
        self._health = Health(lambda: repository.ready and not self._stopping())
        self._router = Router(self._routes(regions), options.token)
        self._server: Any = None
        self._port = 0

    @property
    def port(self) -> int:
        """The port that is listened on, which the system chose if 0 was asked for."""
        return self._port

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            ConfigError: the address cannot be bound, or the certificate or key cannot be used.
        """
        expect_leaving_clients()
        server = grpc.aio.server(handlers=(self._router,), options=self._options.channel_arguments())
        self._port = _bind(server, self._options)
        self._server = server
        await server.start()

    async def stop(self, drain_s: float) -> bool:
        """Accept no more calls and answer those accepted; whether that was done within `drain_s`.

        Calls that are not answered by then are cancelled. New ones get UNAVAILABLE; one that crosses
        with the announcement of the end on its connection gets CANCELLED from gRPC's core. Streams
        read no more, answer what they read, and end with UNAVAILABLE; watchers of health hear
        NOT_SERVING.
        """
        self._closing.set()
        self._health.close()
        if self._server is None:
            return True
        draining = asyncio.ensure_future(self._server.stop(drain_s + 1))
        done, _ = await asyncio.wait((draining,), timeout=drain_s)
        await self._server.stop(None)
        await draining
        return bool(done)

    def _stopping(self) -> bool:
        return self._told_to_stop() or self._closing.is_set()

    def _routes(self, regions: RegionTable) -> dict[str, Route]:
        infer = InferRoute(self._repository, regions)
        return {
            **Methods(self._repository, regions, self._stopping).routes(),
            **SettingMethods(self._options.trace_file, self._options.log_level).routes(),
            **self._health.routes(),
            **reflection_routes(self._closing),
            METHODS["ModelInfer"].path: infer,
            METHODS["ModelStreamInfer"].path: always(StreamInfer(infer, self._closing)),
        }


def _bind(server: Any, options: GrpcOptions) -> int:
    try:
        if options.tls_cert:
            return int(server.add_secure_port(options.address, _credentials(options)))
        return int(server.add_insecure_port(options.address))
    except RuntimeError as error:
        raise ConfigError(
            f"gRPC cannot listen on {options.address}",
            "choose another address with --grpc HOST:PORT, or end what uses it",
        ) from error


def _credentials(options: GrpcOptions) -> Any:
    try:
        pair = (Path(options.tls_key).read_bytes(), Path(options.tls_cert).read_bytes())
    except OSError as error:
        raise ConfigError(
            f"cannot read '{error.filename}': {error.strerror}", "check --tls-cert and --tls-key"
        ) from error
    return grpc.ssl_server_credentials([pair])
