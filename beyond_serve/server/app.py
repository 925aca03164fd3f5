"""Which handler answers which route, and what is refused before a body is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import orjson
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

import beyond_serve
from beyond_serve.server.metrics import Metrics
from beyond_serve.server.openapi import openapi_document
from beyond_serve.server.predict import PredictRoute
from beyond_serve.server.repository import ModelRepository

if TYPE_CHECKING:
    from beyond_serve.server.http.exchange import Exchange

Handler = Callable[["Exchange", Mapping[str, str]], None]
Route = tuple[str, str, Handler]


class PlainRoutes:
    """The routes for people, scripts and orchestrators, beside `/v2`."""

    def __init__(self, repository: ModelRepository, metrics: Metrics, stopping: Callable[[], bool]) -> None:
        self._repository = repository
        self._stopping = stopping
        self._registry = CollectorRegistry()
        self._registry.register(metrics)
        ProcessCollector(registry=self._registry)
        self._openapi = orjson.dumps(openapi_document(beyond_serve.__version__))

    def routes(self) -> list[Route]:
        return [
            ("POST", "/predict", PredictRoute(self._repository)),
            ("PUT", "/predict", PredictRoute(self._repository)),
            ("GET", "/healthz", self.health),
            ("GET", "/metrics", self.metrics),
            ("GET", "/openapi.json", self.openapi),
        ]

    def health(self, exchange: Exchange, _params: Mapping[str, str]) -> None:
        """200 while every model has a living instance and the server takes requests, else 503."""
        ready = self._repository.ready and not self._stopping()
        body = {
            "ready": ready,
            "stopping": self._stopping(),
            "models": {
                status.name: {"state": status.state, **({"reason": status.reason} if status.reason else {})}
                for status in self._repository.index()
            },
        }
        exchange.respond(200 if ready else 503, orjson.dumps(body))

    def metrics(self, exchange: Exchange, _params: Mapping[str, str]) -> None:
        exchange.respond(200, generate_latest(self._registry), CONTENT_TYPE_LATEST)

    def openapi(self, exchange: Exchange, _params: Mapping[str, str]) -> None:
        exchange.respond(200, self._openapi)
