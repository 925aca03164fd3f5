"""The trace and logging extensions: their settings can be read, and are chosen when the server starts.

Source: triton-inference-server/server, docs/protocol/extension_trace.md and extension_logging.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from beyond_serve.errors import InvalidRequestError
from beyond_serve.server.oip.served_model import Repository
from beyond_serve.server.oip.settings import log_settings, trace_settings
from beyond_serve.server.v2.exchange_io import Answer, json_object

if TYPE_CHECKING:
    from beyond_serve.server.http.exchange import Exchange
    from beyond_serve.server.v2.routes import Route

Params = Mapping[str, str]


class SettingRoutes:
    def __init__(self, repository: Repository, trace_file: str, log_level: str) -> None:
        self._repository = repository
        self._trace = trace_settings(trace_file)
        self._log = log_settings(log_level)

    def routes(self) -> list[Route]:
        routes: list[Route] = [
            ("GET", "/v2/logging", Answer(lambda _exchange, _params: self._log)),
            ("POST", "/v2/logging", Answer(self.change_log)),
        ]
        for path in ("/v2/trace/setting", "/v2/models/{name}/trace/setting"):
            routes += [("GET", path, Answer(self.read_trace)), ("POST", path, Answer(self.change_trace))]
        return routes

    def read_trace(self, _exchange: Exchange, params: Params) -> object:
        if "name" in params:
            self._repository.get(params["name"])
        return self._trace

    def change_trace(self, exchange: Exchange, params: Params) -> object:
        _refuse_change(json_object(exchange.body), self._trace, "trace", "--trace-file")
        return self.read_trace(exchange, params)

    def change_log(self, exchange: Exchange, _params: Params) -> object:
        _refuse_change(json_object(exchange.body), self._log, "log", "--log-level")
        return self._log


def _refuse_change(asked: Mapping[str, Any], settings: Mapping[str, Any], kind: str, flag: str) -> None:
    """A setting that is as it was asked to be, or was asked to be left alone (null), is no error."""
    for name, value in asked.items():
        if value is not None and (name not in settings or settings[name] != value):
            raise InvalidRequestError(
                f"the {kind} setting '{name}' cannot be changed while the server runs",
                f"start it with {flag}",
            )
