"""A head that is recognised means what it meant when it was parsed, and no more is taken for known."""

from __future__ import annotations

import pytest

from beyond_serve.server.http.exchange import Exchange, RequestHead
from beyond_serve.server.http.known_heads import MOST_HEADS, KnownHeads
from beyond_serve.server.http.limits import HttpLimits
from beyond_serve.server.http.reader import RequestReader, Stage
from beyond_serve.server.http.refusal import Refusal


class Port:
    def reply(self, *_: object) -> int:
        return 0


def request(body: bytes, target: str = "/predict?top_k=3", more: str = "") -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def read(reader: RequestReader, *pieces: bytes) -> list[Exchange]:
    for number, piece in enumerate(pieces, 1):
        reader.feed(piece, 1000 * number)
    return list(reader.completed)


def parts(exchange: Exchange) -> tuple[object, ...]:
    return (
        exchange.method,
        exchange.path,
        exchange.query,
        dict(exchange.headers),
        exchange.keep_alive,
        exchange.http_1_0,
        exchange.refusal,
    )


def test_a_repeated_head_gives_the_same_request_with_its_own_body_and_stamps() -> None:
    reader = RequestReader(HttpLimits(), Port())
    first, second = read(reader, request(b"one"), request(b"two"))
    assert parts(first) == parts(second)
    assert (first.body, second.body) == (b"one", b"two")
    assert (second.started_ns, second.received_ns) == (2000, 2000)
    assert second.query == {"top_k": "3"}
    assert reader.stage is Stage.IDLE


def test_it_is_really_recognised_and_over_connections() -> None:
    known = KnownHeads()
    read(RequestReader(HttpLimits(), Port(), None, known), request(b"one"))
    found = known.find(request(b"two"))
    assert found is not None
    (again,) = read(RequestReader(HttpLimits(), Port(), None, known), request(b"six"))
    assert again.body == b"six"


def test_a_handlers_changes_do_not_reach_the_next_request() -> None:
    reader = RequestReader(HttpLimits(), Port())
    first, second = read(reader, request(b"one"), request(b"two"))
    first.query["top_k"] = "9"
    first.on_disconnect = lambda: None
    third = read(reader, request(b"six"))[-1]
    assert second.query == third.query == {"top_k": "3"}
    assert third.on_disconnect is None


@pytest.mark.parametrize(
    "data",
    [
        request(b"one")[:-1],
        request(b"one") + b"G",
        request(b"one") + request(b"two"),
        request(b"four"),
        request(b"one", target="/other"),
    ],
)
def test_anything_but_one_whole_request_is_parsed(data: bytes) -> None:
    known = KnownHeads()
    read(RequestReader(HttpLimits(), Port(), None, known), request(b"one"))
    assert known.find(data) is None


@pytest.mark.parametrize(
    "more",
    ["Expect: 100-continue\r\n", "Connection: close\r\n", "Connection: keep-alive\r\n", "Upgrade: h2c\r\n"],
)
def test_requests_that_are_more_than_head_and_body_are_never_known(more: str) -> None:
    known = KnownHeads()
    data = request(b"one", more=more)
    read(RequestReader(HttpLimits(), Port(), None, known), data)
    assert known.find(data) is None


def test_a_chunked_request_is_never_known() -> None:
    known = KnownHeads()
    data = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n"
    (exchange,) = read(RequestReader(HttpLimits(), Port(), None, known), data)
    assert exchange.body == b"one"
    assert known.find(data) is None


def test_the_gates_route_is_kept_with_the_head() -> None:
    asked: list[RequestHead] = []

    def gate(head: RequestHead) -> Refusal | None:
        asked.append(head)
        head.route = "route"
        return None

    first, second = read(RequestReader(HttpLimits(), Port(), gate), request(b"one"), request(b"two"))
    assert (first.route, second.route) == ("route", "route")
    assert len(asked) == 1


def test_a_refused_head_is_not_known() -> None:
    known = KnownHeads()
    reader = RequestReader(HttpLimits(), Port(), lambda _: Refusal(404, "not_found", "no"), known)
    first, second = read(reader, request(b"one"), request(b"two"))
    assert known.find(request(b"one")) is None
    assert first.refusal is not None
    assert second.refusal is not None


def test_heads_do_not_pile_up() -> None:
    known = KnownHeads()
    reader = RequestReader(HttpLimits(), Port(), None, known)
    for number in range(3 * MOST_HEADS):
        read(reader, request(b"one", target=f"/{number}"))
    assert len(known._heads) <= MOST_HEADS


def test_no_connection_is_kept_alive_by_a_head() -> None:
    known = KnownHeads()
    reader = RequestReader(HttpLimits(), Port(), None, known)
    read(reader, request(b"one"))
    found = known.find(request(b"two"))
    assert found is not None
    assert found.example.body == b""
    with pytest.raises(RuntimeError, match="has no client"):
        found.example.respond(200)
