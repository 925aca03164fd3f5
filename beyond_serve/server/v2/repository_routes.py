"""The model repository extension: index, load, unload.

Source: triton-inference-server/server, docs/protocol/extension_model_repository.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from beyond_serve.errors import BeyondError, ConfigError, InvalidRequestError
from beyond_serve.server.oip.served_model import Repository
from beyond_serve.server.v2.exchange_io import Answer, json_object, refuse
from beyond_serve.wire.parameters import flag_parameter

if TYPE_CHECKING:
    from beyond_serve.server.http.exchange import Exchange
    from beyond_serve.server.v2.routes import Route

log = logging.getLogger(__name__)


class RepositoryRoutes:
    """State: the loads and unloads that run, which a client's leaving does not stop."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._running: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        return [
            ("POST", "/v2/repository/index", Answer(self.index)),
            ("POST", "/v2/repository/models/{name}/load", self.load),
            ("POST", "/v2/repository/models/{name}/unload", self.unload),
        ]

    def index(self, exchange: Exchange, _params: Mapping[str, str]) -> object:
        ready_only = flag_parameter(json_object(exchange.body), "ready", "the request") or False
        return [
            {"name": status.name, "version": status.version, "state": status.state, "reason": status.reason}
            for status in self._repository.index()
            if status.state == "READY" or not ready_only
        ]

    def load(self, exchange: Exchange, params: Mapping[str, str]) -> None:
        self._start(exchange, params["name"], self._repository.load, _refuse_override)

    def unload(self, exchange: Exchange, params: Mapping[str, str]) -> None:
        # `unload_dependents` may be there: no model here depends on another.
        self._start(exchange, params["name"], self._repository.unload, lambda _parameters: None)

    def _start(
        self,
        exchange: Exchange,
        name: str,
        change: Callable[[str], Awaitable[None]],
        check: Callable[[Mapping[str, Any]], None],
    ) -> None:
        try:
            parameters = json_object(exchange.body).get("parameters", {})
            if not isinstance(parameters, dict):
                raise InvalidRequestError("'parameters' is no object", 'send "parameters": {…}')
            check(parameters)
        except BeyondError as error:
            refuse(exchange, error)
            return
        task = asyncio.get_running_loop().create_task(_run(exchange, name, change))
        self._running.add(task)
        task.add_done_callback(self._running.discard)


async def _run(exchange: Exchange, name: str, change: Callable[[str], Awaitable[None]]) -> None:
    try:
        await change(name)
    except ConfigError as error:
        # The client asked for this model, so the fault is in what it asked for.
        refuse(exchange, error, status=400)
    except BeyondError as error:
        refuse(exchange, error)
    except Exception as error:
        log.exception("loading or unloading model '%s' failed", name)
        refuse(exchange, error)
    else:
        exchange.respond(200, b"{}")


def _refuse_override(parameters: Mapping[str, Any]) -> None:
    if parameters:
        raise InvalidRequestError(
            f"loading with parameters ({', '.join(sorted(parameters))[:80]}) is not served",
            "models are loaded as they were configured when the server started",
        )
