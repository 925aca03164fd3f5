"""The standard health service, grpc.health.v1, which orchestrators and proxies probe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2

from beyond_serve.errors import BeyondError
from beyond_serve.server.grpc.codec import decode_message
from beyond_serve.server.grpc.router import Route, Rpc, always
from beyond_serve.server.grpc.status import set_error, set_refusal
from beyond_serve.wire.messages import SERVICE

HEALTH_SERVICE: Final = "grpc.health.v1.Health"
REFRESH_S: Final = 1.0
"""How soon a watcher hears of a change at the latest. A convention, not a measurement."""

_SERVICES: Final = ("", SERVICE)
_Status = health_pb2.HealthCheckResponse


class Health:
    """Serves Check and Watch from the server's readiness. State: the watchers; owned by the loop.

    Readiness is the sum of many parts (models, their instances, the shutdown), none of which announces
    it; so it is asked again every `REFRESH_S` while somebody watches, and never otherwise.
    """

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready
        self._was_ready = False
        self._watchers: set[asyncio.Event] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def routes(self) -> dict[str, Route]:
        return {
            f"/{HEALTH_SERVICE}/Check": always(_Check(self)),
            f"/{HEALTH_SERVICE}/Watch": always(_Watch(self)),
        }

    def status(self, service: str) -> int:
        """A HealthCheckResponse.ServingStatus; SERVICE_UNKNOWN for what is not served here."""
        if service not in _SERVICES:
            return int(_Status.SERVICE_UNKNOWN)
        return int(_Status.SERVING if self._ready() and not self._closed else _Status.NOT_SERVING)

    def refresh(self) -> None:
        """Wake the watchers if readiness changed."""
        if self._closed or self._ready() != self._was_ready:
            self._was_ready = self._ready()
            for changed in self._watchers:
                changed.set()

    def close(self) -> None:
        """Tell the watchers NOT_SERVING and end their streams, which would hold up the shutdown."""
        self._closed = True
        self.refresh()

    async def watch(self, service: str, write: Callable[[bytes], Any]) -> None:
        """Write the status now and after each change, until the server stops or the client leaves."""
        changed = asyncio.Event()
        self._enter(changed)
        sent = None
        try:
            while True:
                changed.clear()
                status = self.status(service)
                if status != sent:
                    await write(_Status(status=status).SerializeToString())
                    sent = status
                if self._closed:
                    return
                await changed.wait()
        finally:
            self._leave(changed)

    def _enter(self, changed: asyncio.Event) -> None:
        self._watchers.add(changed)
        if self._timer is None:
            self._was_ready = self._ready()
            self._timer = asyncio.get_running_loop().call_later(REFRESH_S, self._tick)

    def _leave(self, changed: asyncio.Event) -> None:
        self._watchers.discard(changed)
        if not self._watchers and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(REFRESH_S, self._tick)
        self.refresh()


class _Check(Rpc):
    def __init__(self, health: Health) -> None:
        self._health = health

    async def unary_unary(self, serialized: bytes, context: Any) -> bytes:
        try:
            request = decode_message(health_pb2.HealthCheckRequest, serialized)
        except BeyondError as error:
            set_error(context, error)
            return b""
        status = self._health.status(request.service)
        if status == _Status.SERVICE_UNKNOWN:
            details = f"there is no service '{request.service[:80]}'; known: '' and '{SERVICE}'"
            set_refusal(context, grpc.StatusCode.NOT_FOUND, "not_found", details)
            return b""
        return bytes(_Status(status=status).SerializeToString())


class _Watch(Rpc):
    response_streaming = True

    def __init__(self, health: Health) -> None:
        self._health = health

    async def unary_stream(self, serialized: bytes, context: Any) -> None:
        try:
            request = decode_message(health_pb2.HealthCheckRequest, serialized)
        except BeyondError as error:
            set_error(context, error)
            return
        await self._health.watch(request.service, context.write)
