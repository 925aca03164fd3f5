"""The routing table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from beyond_serve.server.http.exchange import Exchange
from beyond_serve.server.http.router import Route, Router


class NoReply:
    def reply(
        self,
        exchange: Exchange,
        status: int,
        body: bytes,
        content_type: str,
        headers: Sequence[tuple[str, str]],
    ) -> int:
        raise AssertionError("nothing here answers")


class Called:
    """A route handler that notes what it was called with."""

    def __init__(self) -> None:
        self.params: list[Mapping[str, str]] = []

    def __call__(self, exchange: Exchange, params: Mapping[str, str]) -> None:
        self.params.append(params)


PATHS = [
    ("GET", "/v2"),
    ("GET", "/v2/"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/models/stats"),
    ("GET", "/v2/models/{name}"),
    ("GET", "/v2/models/{name}/ready"),
    ("POST", "/v2/models/{name}/infer"),
    ("GET", "/v2/models/{name}/versions/{version}"),
    ("POST", "/v2/models/{name}/versions/{version}/infer"),
    ("POST", "/predict"),
    ("PUT", "/predict"),
]


def table() -> tuple[Router, dict[tuple[str, str], Called]]:
    called = {route: Called() for route in PATHS}
    routes: list[Route] = [(method, path, handler) for (method, path), handler in called.items()]
    return Router(routes), called


def exchange(method: str, target: str) -> Exchange:
    return Exchange(NoReply(), method, target, {})


@pytest.mark.parametrize(
    ("method", "target", "path", "params"),
    [
        ("GET", "/v2", "/v2", {}),
        ("GET", "/v2/", "/v2/", {}),
        ("GET", "/v2/models/stats", "/v2/models/stats", {}),
        ("GET", "/v2/models/stats?x=1", "/v2/models/stats", {}),
        ("GET", "/v2/models/vit", "/v2/models/{name}", {"name": "vit"}),
        ("GET", "/v2/models/a%2Fb%20c", "/v2/models/{name}", {"name": "a/b c"}),
        ("POST", "/v2/models/stats/infer", "/v2/models/{name}/infer", {"name": "stats"}),
        (
            "GET",
            "/v2/models/m/versions/3",
            "/v2/models/{name}/versions/{version}",
            {"name": "m", "version": "3"},
        ),
        (
            "POST",
            "/v2/models/m/versions/1/infer",
            "/v2/models/{name}/versions/{version}/infer",
            {"name": "m", "version": "1"},
        ),
        ("PUT", "/predict?top_k=1", "/predict", {}),
        ("HEAD", "/v2/models/vit/ready", "/v2/models/{name}/ready", {"name": "vit"}),
        ("HEAD", "/v2", "/v2", {}),
    ],
)
def test_route_is_found(method: str, target: str, path: str, params: dict[str, str]) -> None:
    router, called = table()
    asked = exchange(method, target)
    assert router.gate(asked) is None
    router(asked)
    assert called["GET" if method == "HEAD" else method, path].params == [params]
    assert sum(len(handler.params) for handler in called.values()) == 1


@pytest.mark.parametrize(
    "target",
    ["/", "/predict/", "/v2/models", "/v2/models/", "/v2/models//infer", "/v2/models/m/versions", "/x", "*"],
)
def test_unknown_path_is_404(target: str) -> None:
    router, _ = table()
    refusal = router.gate(exchange("GET", target))
    assert refusal is not None
    assert (refusal.status, refusal.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("GET", "/predict", "POST, PUT"),
        ("HEAD", "/v2/models/m/infer", "POST"),
        ("POST", "/v2/models/m", "GET, HEAD"),
        ("DELETE", "/v2", "GET, HEAD"),
    ],
)
def test_other_method_is_405_and_says_which_are_allowed(method: str, target: str, allowed: str) -> None:
    router, _ = table()
    refusal = router.gate(exchange(method, target))
    assert refusal is not None
    assert (refusal.status, refusal.headers) == (405, (("Allow", allowed),))


@pytest.mark.parametrize("paths", [("/a", "/a"), ("/a/{x}", "/a/{x}"), ("/a/{x}", "/a/{y}/b")])
def test_routes_that_collide_are_an_error(paths: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"two routes for|by another name"):
        Router([("GET", path, Called()) for path in paths])
