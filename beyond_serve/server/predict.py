"""`POST /predict`: encoded images in, labels and scores out, for people and scripts."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from beyond_serve.batching import Request
from beyond_serve.errors import BeyondError, InvalidRequestError, UnsupportedImageError
from beyond_serve.server.call import Call
from beyond_serve.server.caller import http_caller
from beyond_serve.server.error_table import error_body, http_headers, http_status
from beyond_serve.server.model import Model
from beyond_serve.server.multipart_body import split_multipart
from beyond_serve.server.prediction import PredictionEncoder
from beyond_serve.server.repository import ModelRepository
from beyond_serve.server.timing_header import server_timing

if TYPE_CHECKING:
    from beyond_serve.server.http.exchange import Exchange

_KNOWN = frozenset(("model", "top_k", "trace", "timeout_ms", "priority"))


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """The query of a `/predict` request, checked."""

    model: str = ""
    top_k: int = 5
    trace: bool = False
    timeout_us: int = 0
    priority: int = 0


_DEFAULTS = PredictOptions()


@functools.lru_cache(maxsize=256)
def parse_options(raw_query: str) -> PredictOptions:
    """Check the query, still encoded; clients send the same few over and over.

    Raises:
        InvalidRequestError: an unknown name, or a value out of range.
    """
    if not raw_query:
        return _DEFAULTS
    query = dict(parse_qsl(raw_query, keep_blank_values=True))
    unknown = query.keys() - _KNOWN
    if unknown:
        raise InvalidRequestError(
            f"unknown query parameter '{sorted(unknown)[0]}'", f"known: {', '.join(sorted(_KNOWN))}"
        )
    return PredictOptions(
        model=query.get("model", ""),
        top_k=_number(query, "top_k", 5, 1, 100_000),
        trace=_flag(query, "trace"),
        timeout_us=round(_float(query, "timeout_ms") * 1000),
        priority=_number(query, "priority", 0, 0, 1_000_000),
    )


def _number(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise InvalidRequestError(f"{name} is '{text}'", f"give a whole number from {least} to {most}")
    return int(text)


def _float(query: Mapping[str, str], name: str) -> float:
    text = query.get(name)
    if text is None:
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1e9:
        raise InvalidRequestError(f"{name} is '{text}'", "give milliseconds, more than 0")
    return value


def _flag(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "0")
    if text not in ("0", "1", "true", "false"):
        raise InvalidRequestError(f"{name} is '{text}'", "give 1 or 0")
    return text in ("1", "true")


class PredictRoute:
    """Handler of `POST /predict`."""

    def __init__(self, repository: ModelRepository) -> None:
        self._repository = repository
        self._encoders: dict[str, PredictionEncoder] = {}

    def __call__(self, exchange: Exchange, params: Mapping[str, str]) -> None:
        try:
            options = parse_options(exchange.raw_query)
            model = self._repository.get(options.model) if options.model else self._repository.default()
            if model.info.scores is None:
                raise InvalidRequestError(
                    f"model '{model.name}' has no class scores to rank",
                    f"read its outputs with POST /v2/models/{model.name}/infer",
                )
            images, several = read_images(exchange)
        except BeyondError as error:
            refuse(exchange, error)
            return
        call = model.submit_images(
            images,
            started_ns=exchange.started_ns,
            received_ns=exchange.received_ns,
            on_done=functools.partial(self._answer, exchange, model, options, several),
            top_k=options.top_k,
            timeout_us=options.timeout_us,
            priority=options.priority,
        )
        if not exchange.answered:
            exchange.on_disconnect = call.cancel

    def _answer(
        self, exchange: Exchange, model: Model, options: PredictOptions, several: bool, call: Call
    ) -> None:
        """Reply to a call that ended, and close its traces."""
        exchange.on_disconnect = None
        requests = call.requests
        status, body = 200, b""
        headers: Sequence[tuple[str, str]] = ()
        if several:
            status, body, headers = self._several(requests, model, options)
        elif (error := requests[0].error) is not None:
            status, body, headers = http_status(error), error_body(error), http_headers(error)
        else:
            body = self._encode(requests[0], model, options)
        if options.trace:
            slowest = max(requests, key=lambda request: request.trace.borders()[-1])
            headers = (*headers, ("Server-Timing", server_timing(slowest.trace, time.monotonic_ns())))
        replied_ns = exchange.respond(status, body, headers=headers)
        call.replied(replied_ns, http_caller(exchange, "/predict", status))

    def _several(
        self, requests: Sequence[Request], model: Model, options: PredictOptions
    ) -> tuple[int, bytes, Sequence[tuple[str, str]]]:
        """A list, in which errors stand beside their neighbours' results; a plain error if all failed."""
        first = requests[0].error
        if first is not None and all(request.error for request in requests):
            return http_status(first), error_body(first), http_headers(first)
        items = [
            error_body(request.error) if request.error else self._encode(request, model, options)
            for request in requests
        ]
        return 200, b"[" + b",".join(items) + b"]", ()

    def _encode(self, request: Request, model: Model, options: PredictOptions) -> bytes:
        trace = request.trace.as_dict(time.monotonic_ns()) if options.trace else None
        return self._encoder(model).encode(request, options.top_k, trace)

    def _encoder(self, model: Model) -> PredictionEncoder:
        encoder = self._encoders.get(model.name)
        if encoder is None or encoder.model is not model:
            encoder = self._encoders[model.name] = PredictionEncoder(model)
        return encoder


def read_images(exchange: Exchange) -> tuple[list[bytes], bool]:
    """The images of the body, and whether it could hold several (multipart).

    Raises:
        InvalidRequestError: multipart that is malformed or holds no part.
        UnsupportedImageError: an empty body.
    """
    # The raw header first: most requests are single images, and decoding headers costs.
    if exchange.raw_headers.get(b"content-type", b"")[:10].lower() == b"multipart/":
        return split_multipart(exchange.body, exchange.headers["content-type"]), True
    if not exchange.body:
        raise UnsupportedImageError(
            "the body is empty", "send an encoded image: curl -T image.jpg 'http://…/predict'"
        )
    return [exchange.body], False


def refuse(exchange: Exchange, error: BeyondError) -> None:
    exchange.respond(http_status(error), error_body(error), headers=http_headers(error))
