"""Which handler answers which method and path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias
from urllib.parse import unquote

from beyond_serve.server.http.exchange import Exchange, RequestHead
from beyond_serve.server.http.refusal import Refusal

RouteHandler: TypeAlias = Callable[[Exchange, Mapping[str, str]], None]
Route: TypeAlias = tuple[str, str, RouteHandler]
Match: TypeAlias = tuple[RouteHandler, Mapping[str, str]]

_NO_PARAMS: Mapping[str, str] = {}


class _Node:
    """One segment of the paths below it. A literal segment is preferred to a parameter."""

    __slots__ = ("handlers", "literals", "parameter", "parameter_name")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.parameter_name = ""
        self.handlers: dict[str, RouteHandler] = {}


class Router:
    """A table of routes, built once. It is both the server's gate and its handler:

        router = Router([("POST", "/predict", predict), ("GET", "/v2/models/{name}", metadata)])
        create_http_server(loop, router, limits, host, port, gate=router.gate)

    The gate looks the route up, refuses what has none before its body is read, and leaves the route in
    the exchange for the handler. HEAD is allowed wherever GET is. `{name}` stands for one whole segment,
    which is matched percent-encoded and given to the handler decoded. A trailing slash is a segment.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        """
        Raises:
            ValueError: two routes collide.
        """
        self._exact: dict[str, dict[str, RouteHandler]] = {}
        self._root = _Node()
        for method, path, handler in routes:
            self._add(method, path, handler)

    def __call__(self, exchange: Exchange) -> None:
        """Handle an exchange that the gate let pass."""
        handler, params = exchange.route
        handler(exchange, params)

    def gate(self, head: RequestHead) -> Refusal | None:
        """Find the head's route: 404 if there is none, 405 if there is one for other methods only."""
        path = head.raw_path
        params = _NO_PARAMS
        handlers = self._exact.get(path)
        if handlers is None:
            handlers, params = self._find(path)
            if not handlers:
                return Refusal(
                    404, "not_found", f"no such path: {_shown(path)}", "GET /openapi.json lists them"
                )
        handler = handlers.get(head.method)
        if handler is None:
            allowed = ", ".join(sorted(handlers))
            message = f"{head.method} is not allowed on {_shown(path)}"
            return Refusal(405, "method_not_allowed", message, f"use {allowed}", (("Allow", allowed),))
        head.route = (handler, params)
        return None

    def _find(self, path: str) -> tuple[dict[str, RouteHandler], Mapping[str, str]]:
        node = self._root
        params: dict[str, str] = {}
        for segment in path.split("/")[1:]:
            below = node.literals.get(segment)
            if below is None:
                below = node.parameter
                if below is None or not segment:
                    return {}, params
                params[node.parameter_name] = unquote(segment) if "%" in segment else segment
            node = below
        return node.handlers, params

    def _add(self, method: str, path: str, handler: RouteHandler) -> None:
        handlers = self._node(path).handlers if "{" in path else self._exact.setdefault(path, {})
        if method in handlers:
            raise ValueError(f"two routes for {method} {path}")
        handlers[method] = handler
        if method == "GET":
            handlers.setdefault("HEAD", handler)

    def _node(self, path: str) -> _Node:
        node = self._root
        for segment in path.split("/")[1:]:
            if not segment.startswith("{"):
                node = node.literals.setdefault(segment, _Node())
                continue
            name = segment[1:-1]
            if node.parameter is None:
                node.parameter, node.parameter_name = _Node(), name
            elif node.parameter_name != name:
                raise ValueError(f"{path} calls {{{node.parameter_name}}} by another name")
            node = node.parameter
        return node


def _shown(path: str) -> str:
    return path if len(path) <= 100 else path[:100] + "…"
