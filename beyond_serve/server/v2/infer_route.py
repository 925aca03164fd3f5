"""`POST /v2/models/NAME[/versions/V]/infer`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from beyond_serve.errors import BeyondError, EngineError, PayloadTooLargeError
from beyond_serve.server.caller import http_caller
from beyond_serve.server.error_table import http_status
from beyond_serve.server.oip.infer import Inference, prepare_inference
from beyond_serve.server.oip.served_model import Repository
from beyond_serve.server.oip.shared_memory import RegionTable
from beyond_serve.server.timing_header import server_timing
from beyond_serve.server.v2.content_coding import (
    COMPRESS_BINARY_FROM,
    COMPRESS_JSON_FROM,
    accepted_coding,
    compress,
    decompress,
    request_coding,
)
from beyond_serve.server.v2.exchange_io import checked_version, refuse
from beyond_serve.server.v2.request_body import read_request
from beyond_serve.server.v2.response_body import Reply, binary_outputs, encode_response
from beyond_serve.wire.binary import HEADER_LENGTH, JSON, parse_header_length
from beyond_serve.wire.oip import InferResponse

if TYPE_CHECKING:
    from beyond_serve.server.http.exchange import Exchange

log = logging.getLogger(__name__)

T = TypeVar("T")

ROUTE = "/v2/models/{name}/infer"

# (De)compressing this much takes a millisecond or so; what is larger leaves the event loop.
INLINE_BYTES = 256 * 1024

_HEADER_LENGTH = HEADER_LENGTH.lower()


class InferRoute:
    """Handler of inference requests over HTTP.

    Args:
        max_body: the most bytes a compressed body may decode to.
    """

    def __init__(self, repository: Repository, regions: RegionTable, max_body: int) -> None:
        self._repository = repository
        self._regions = regions
        self._max_body = max_body

    def __call__(self, exchange: Exchange, params: Mapping[str, str]) -> None:
        try:
            coding = request_coding(exchange.headers.get("content-encoding"))
            if coding is None:
                self._infer(exchange, params, exchange.body)
            else:
                self._inflate(exchange, params, coding)
        except BeyondError as error:
            refuse(exchange, error)

    def _inflate(self, exchange: Exchange, params: Mapping[str, str], coding: str) -> None:
        inline = min(INLINE_BYTES, self._max_body)
        if len(exchange.body) <= inline:
            try:
                body = decompress(exchange.body, coding, inline)
            except PayloadTooLargeError:
                if inline == self._max_body:
                    raise
            else:
                self._infer(exchange, params, body)
                return
        gone = _Flag()
        exchange.on_disconnect = gone.set

        def inflated(body: bytes | BeyondError) -> None:
            if gone.is_set:
                return
            exchange.on_disconnect = None
            try:
                if isinstance(body, BeyondError):
                    raise body
                self._infer(exchange, params, body)
            except BeyondError as error:
                refuse(exchange, error)

        _off_loop(lambda: decompress(exchange.body, coding, self._max_body), inflated)

    def _infer(self, exchange: Exchange, params: Mapping[str, str], body: bytes) -> None:
        model = self._repository.get(params["name"], checked_version(params))
        header_length = parse_header_length(exchange.headers.get(_HEADER_LENGTH), len(body))
        request = read_request(model.name, model.version, model.info, body, header_length)
        inference = prepare_inference(model, request, self._regions)
        traced = request.parameters.get("trace") is True or exchange.query.get("trace") in ("1", "true")
        binary = binary_outputs(inference.outputs, request.parameters)
        reply = _PendingReply(exchange, inference, binary, traced)
        exchange.on_disconnect = inference.cancel
        inference.start(
            started_ns=exchange.started_ns, received_ns=exchange.received_ns, on_done=reply.on_done
        )


class _PendingReply:
    """An exchange that waits for its inference, and how it wants its answer."""

    __slots__ = ("_binary", "_exchange", "_inference", "_traced")

    def __init__(
        self, exchange: Exchange, inference: Inference, binary: tuple[bool, ...], traced: bool
    ) -> None:
        self._exchange = exchange
        self._inference = inference
        self._binary = binary
        self._traced = traced

    def on_done(self, result: InferResponse | BeyondError) -> None:
        # From here on the reply is sent, or the exchange drops it; either way the call must be closed.
        self._exchange.on_disconnect = None
        if isinstance(result, BeyondError):
            self._fail(result)
            return
        try:
            trace = self._inference.trace if self._traced else None
            reply = encode_response(
                result, self._binary, None if trace is None else trace.as_dict(time.monotonic_ns())
            )
        except BeyondError as error:
            self._fail(error)
        except Exception as error:
            log.exception("the answer of %s could not be encoded", self._exchange.path)
            self._fail(error)
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        accepted = self._exchange.headers.get("accept-encoding")
        least = COMPRESS_JSON_FROM if reply.content_type == JSON else COMPRESS_BINARY_FROM
        coding = accepted_coding(accepted) if accepted and len(reply.body) >= least else None
        if coding is None:
            self._respond(reply, reply.body)
            return
        reply.headers.extend((("Content-Encoding", coding), ("Vary", "Accept-Encoding")))
        if len(reply.body) <= INLINE_BYTES:
            self._respond(reply, compress(reply.body, coding))
            return

        def compressed(body: bytes | BeyondError) -> None:
            if isinstance(body, BeyondError):
                self._fail(body)
            else:
                self._respond(reply, body)

        _off_loop(lambda: compress(reply.body, coding), compressed)

    def _respond(self, reply: Reply, body: bytes) -> None:
        headers = reply.headers + self._timing()
        replied_ns = self._exchange.respond(200, body, reply.content_type, headers)
        self._inference.replied(replied_ns, http_caller(self._exchange, ROUTE, 200))

    def _fail(self, error: Exception) -> None:
        replied_ns = refuse(self._exchange, error, self._timing())
        self._inference.replied(replied_ns, http_caller(self._exchange, ROUTE, http_status(error)))

    def _timing(self) -> list[tuple[str, str]]:
        trace = self._inference.trace if self._traced else None
        return [] if trace is None else [("Server-Timing", server_timing(trace, time.monotonic_ns()))]


class _Flag:
    __slots__ = ("is_set",)

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        self.is_set = True


def _off_loop(work: Callable[[], T], then: Callable[[T | BeyondError], None]) -> None:
    """Run `work` on a thread, then `then` on the event loop with its result or its error."""

    def done(future: asyncio.Future[T]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            then(future.result())
        elif isinstance(error, BeyondError):
            then(error)
        else:
            log.error("a body could not be (de)compressed", exc_info=error)
            then(EngineError(f"a body could not be (de)compressed ({type(error).__name__})"))

    asyncio.get_running_loop().run_in_executor(None, work).add_done_callback(done)
