"""ModelInfer: the hot path. One object, one future and no task of its own per call."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Final

from beyond_serve.errors import BeyondError
from beyond_serve.server.grpc.caller import grpc_caller
from beyond_serve.server.grpc.preparer import Preparer
from beyond_serve.server.grpc.response_writer import ResponseWriter
from beyond_serve.server.grpc.router import Rpc, metadata_value
from beyond_serve.server.grpc.status import Metadata, set_error
from beyond_serve.server.oip.infer import LONGEST_TIMEOUT_US, Inference
from beyond_serve.server.oip.served_model import Repository
from beyond_serve.server.oip.shared_memory import RegionTable
from beyond_serve.server.timing_header import server_timing
from beyond_serve.wire.oip import InferResponse

TRACE_KEY: Final = "x-trace"
"""Metadata with which a client asks for `server-timing` and `trace` in the trailing metadata."""

_Clock = Callable[[], int]


def deadline_us(context: Any, started_ns: int, now_ns: int) -> int:
    """Microseconds from `started_ns` to the client's deadline; 0 if it set none."""
    remaining_s = context.time_remaining()
    if remaining_s is None:
        return 0
    passed_us = (now_ns - started_ns) // 1000
    return max(1, min(passed_us + int(remaining_s * 1e6), LONGEST_TIMEOUT_US))


class InferRoute:
    """Makes the object that answers one ModelInfer call."""

    def __init__(
        self, repository: Repository, regions: RegionTable, clock: _Clock = time.monotonic_ns
    ) -> None:
        self.preparer = Preparer(repository, regions)
        self.clock = clock
        self.writer = ResponseWriter()

    def __call__(self, details: Any) -> UnaryInfer:
        return UnaryInfer(self, details.invocation_metadata)


class UnaryInfer(Rpc):
    """One ModelInfer call, from its headers' arrival to the end of its answer.

    The trace's `receive` runs from where gRPC announces the call, its headers read, to where it hands
    over the whole message; gRPC offers no earlier hook. Parsing the message is part of `admit`. The
    trace ends where gRPC reports that message and status were taken by the transport.

    Guarantee: an inference that was started is told `replied` or `cancel` exactly once, by `_ended`,
    which gRPC calls however the call ends.
    """

    def __init__(self, route: InferRoute, metadata: Any) -> None:
        self._route = route
        self._metadata = metadata
        self._started_ns = route.clock()
        self._inference: Inference | None = None
        self._result: InferResponse | BeyondError | None = None
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def unary_unary(self, serialized: bytes, context: Any) -> bytes:
        received_ns = self._route.clock()
        traced = False
        try:
            self._inference, _, traced = self._route.preparer.prepare(serialized)
            traced = traced or metadata_value(self._metadata, TRACE_KEY) in ("1", "true")
            context.add_done_callback(self._ended)
            self._inference.start(
                started_ns=self._started_ns,
                received_ns=received_ns,
                on_done=self._done,
                timeout_us=deadline_us(context, self._started_ns, received_ns),
            )
            if self._result is None:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
            result = self._result
            if isinstance(result, InferResponse):
                answer = self._route.writer.write(result)
                if traced:
                    context.set_trailing_metadata(self._trailers())
                return answer
            self._error = result
        except Exception as raised:  # To the client a status, never a stack.
            self._error = raised
        assert self._error is not None
        set_error(context, self._error, self._trailers() if traced else ())
        return b""

    def _trailers(self) -> Metadata:
        trace = self._inference.trace if self._inference is not None else None
        if trace is None:
            return ()
        now_ns = self._route.clock()
        # Escaped to ASCII, which is all that metadata may hold.
        document = json.dumps(trace.as_dict(now_ns), separators=(",", ":"))
        return (("server-timing", server_timing(trace, now_ns)), ("trace", document))

    def _done(self, result: InferResponse | BeyondError) -> None:
        self._result = result
        # The waiter is cancelled already if the client left in this very turn of the loop.
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _ended(self, _context: Any) -> None:
        # Let go of it: it knows this object too, and a request's memory must not wait for the collector.
        inference, self._inference = self._inference, None
        assert inference is not None
        if self._result is not None:
            caller = grpc_caller(self._metadata, "ModelInfer", self._error)
            inference.replied(self._route.clock(), caller)
        else:
            inference.cancel()
