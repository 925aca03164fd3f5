"""Open Inference Protocol over gRPC: `ModelInfer` calls of grpc.aio with messages serialised before."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from beyond_serve.bench.load.error_kinds import ErrorKind
from beyond_serve.bench.load.plan import WirePlan
from beyond_serve.bench.load.wire import Ended
from beyond_serve.wire.messages import METHODS

CALLS_PER_CHANNEL = 100
"""HTTP/2 servers allow about so many streams a connection (RFC 9113 recommends no fewer than 100); what
is above waits inside the channel, unseen. So there is a channel for each hundred calls."""

_CANCELLED, _DEADLINE_EXCEEDED, _UNAVAILABLE = 1, 4, 14


class GrpcWire:
    """State: the channels, and the calls on their way."""

    def __init__(self, plan: WirePlan, ended: Ended, _on_sent: Callable[[int, int], None]) -> None:
        self._plan = plan
        self._ended = ended
        self._channels: list[Any] = []
        self._methods: list[Callable[..., Any]] = []
        self._calls: set[asyncio.Task[None]] = set()

    async def open(self, connections: int) -> None:
        for _ in range(max(1, -(-min(connections, self._plan.max_connections) // CALLS_PER_CHANNEL))):
            self._add_channel()
        ready = (channel.channel_ready() for channel in self._channels)
        # A server that does not answer now is counted request by request.
        await asyncio.wait(
            [asyncio.ensure_future(waiting) for waiting in ready], timeout=self._plan.timeout_s
        )

    def _add_channel(self) -> None:
        channel = open_channel(self._plan)
        self._channels.append(channel)
        # Neither serialiser nor deserialiser: bytes in, bytes out.
        self._methods.append(channel.unary_unary(METHODS["ModelInfer"].path))

    def send(self, row: int, image: int) -> int:
        now = time.monotonic_ns()
        in_flight = len(self._calls)
        if in_flight >= len(self._channels) * CALLS_PER_CHANNEL:
            self._add_channel()
        task = asyncio.get_running_loop().create_task(
            self._call(row, image, self._methods[row % len(self._methods)])
        )
        self._calls.add(task)
        task.add_done_callback(functools.partial(self._done, row))
        return now

    def _done(self, row: int, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        # Here and not in the task, which may be cancelled before its first step.
        if task.cancelled():
            self._ended(row, time.monotonic_ns(), 0, ErrorKind.UNFINISHED, 0, None)

    async def _call(self, row: int, image: int, method: Callable[..., Any]) -> None:
        import grpc

        call = method(self._plan.payloads[image], metadata=self._plan.metadata, timeout=self._plan.timeout_s)
        try:
            answer = await call
            now = time.monotonic_ns()
        except grpc.aio.AioRpcError as error:
            now = time.monotonic_ns()
            kind, status = failure(error.code().value[0], error.details() or "")
            self._ended(row, now, status, kind, 0, None)
        else:
            document = await _trailing_trace(call) if self._plan.traced else None
            self._ended(row, now, 0, ErrorKind.NONE, len(answer), document)

    def expire(self, now_ns: int) -> None:
        """Nothing: gRPC has each call's deadline."""

    def abandon(self) -> None:
        for task in self._calls:
            task.cancel()

    async def close(self) -> None:
        self.abandon()
        if self._calls:
            await asyncio.wait(self._calls)
        for channel in self._channels:
            await channel.close()


def failure(code: int, details: str) -> tuple[ErrorKind, int]:
    """What a call's status means: gRPC's own words for a connection that failed, or the server's answer."""
    text = details.lower()
    if code == _DEADLINE_EXCEEDED:
        return ErrorKind.TIMEOUT, 0
    if code == _UNAVAILABLE:
        for words, kind in (
            ("connection refused", ErrorKind.REFUSED),
            ("handshake", ErrorKind.TLS),
            ("ssl", ErrorKind.TLS),
            ("reset", ErrorKind.RESET),
            ("socket closed", ErrorKind.RESET),
            ("goaway", ErrorKind.CLOSED),
            ("failed to connect", ErrorKind.CONNECT),
        ):
            if words in text:
                return kind, 0
    return ErrorKind.STATUS, code


async def _trailing_trace(call: Any) -> bytes | None:
    for key, value in await call.trailing_metadata() or ():
        if key == "trace":
            return value.encode() if isinstance(value, str) else bytes(value)
    return None


CHANNEL_OPTIONS = (
    # The server's limits decide.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    # Without it all channels to one address would share one connection.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


def grpc_target(plan: WirePlan) -> str:
    return (
        f"[{plan.server_name}]:{plan.port}" if ":" in plan.server_name else f"{plan.server_name}:{plan.port}"
    )


def open_channel(plan: WirePlan) -> Any:
    import grpc

    if plan.tls is None:
        return grpc.aio.insecure_channel(grpc_target(plan), options=CHANNEL_OPTIONS)
    roots = Path(plan.tls.ca).read_bytes() if plan.tls.ca else None
    return grpc.aio.secure_channel(
        grpc_target(plan), grpc.ssl_channel_credentials(roots), options=CHANNEL_OPTIONS
    )
