"""Metadata, readiness, configuration and statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import orjson

from beyond_serve.errors import BeyondError
from beyond_serve.server.oip.model_config import model_config, model_metadata
from beyond_serve.server.oip.served_model import Repository, ServedModel
from beyond_serve.server.oip.server_metadata import server_metadata
from beyond_serve.server.v2.exchange_io import Answer, checked_version, refuse

if TYPE_CHECKING:
    from beyond_serve.server.http.exchange import Exchange
    from beyond_serve.server.v2.routes import Route

Params = Mapping[str, str]


class ModelRoutes:
    """What can be read about the server and its models.

    Health answers have a body, which the specification leaves open: KServe's client parses one, Triton's
    looks at the status only.
    """

    def __init__(self, repository: Repository, stopping: Callable[[], bool], *, client_shm: bool) -> None:
        self._repository = repository
        self._stopping = stopping
        self._server = orjson.dumps(server_metadata(client_shm=client_shm))

    def routes(self) -> list[Route]:
        model = "/v2/models/{name}"
        version = "/v2/models/{name}/versions/{version}"
        routes: list[Route] = [
            ("GET", "/v2", self.server),
            ("GET", "/v2/", self.server),
            ("GET", "/v2/health/live", self.live),
            ("GET", "/v2/health/ready", self.ready),
            ("GET", "/v2/models/stats", Answer(self.all_statistics)),
        ]
        for path in (model, version):
            routes += [
                ("GET", path, Answer(lambda _, params: model_metadata(self._model(params)))),
                ("GET", f"{path}/config", Answer(lambda _, params: model_config(self._model(params)))),
                ("GET", f"{path}/stats", Answer(self.statistics)),
                ("GET", f"{path}/ready", self.model_ready),
            ]
        return routes

    def server(self, exchange: Exchange, _params: Params) -> None:
        exchange.respond(200, self._server)

    def live(self, exchange: Exchange, _params: Params) -> None:
        exchange.respond(200, b'{"live":true}')

    def ready(self, exchange: Exchange, _params: Params) -> None:
        ready = self._repository.ready and not self._stopping()
        exchange.respond(200 if ready else 400, orjson.dumps({"ready": ready}))

    def model_ready(self, exchange: Exchange, params: Params) -> None:
        """400 also for a model that does not exist, as Triton answers."""
        try:
            ready = self._model(params).ready and not self._stopping()
        except BeyondError as error:
            refuse(exchange, error, status=400)
            return
        exchange.respond(200 if ready else 400, orjson.dumps({"name": params["name"], "ready": ready}))

    def statistics(self, _exchange: Exchange, params: Params) -> object:
        return {"model_stats": [self._model(params).statistics()]}

    def all_statistics(self, _exchange: Exchange, _params: Params) -> object:
        return {"model_stats": [model.statistics() for model in self._repository.models]}

    def _model(self, params: Params) -> ServedModel:
        return self._repository.get(params["name"], checked_version(params))
