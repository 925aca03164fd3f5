"""From bytes to requests, without a socket."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from beyond_serve.server.http.exchange import Exchange, Gate, RequestHead
from beyond_serve.server.http.limits import HttpLimits
from beyond_serve.server.http.reader import RequestReader, Stage
from beyond_serve.server.http.refusal import Refusal

LIMITS = HttpLimits(max_header_bytes=400, max_body_bytes=1000, max_discarded_bytes=50)
NOT_FOUND = Refusal(404, "not_found", "no such path")

CHUNKED_HEAD = b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM = (
    b"POST /a?x=1 HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nContent-Length: 5\r\n\r\nhello"
    b"GET /b HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nAccept: */*\r\n\r\n"
    b"\r\n" + CHUNKED_HEAD + b"3;q=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n"
    b"POST /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAA\r\nContent-Length: 4\r\n\r\nbody"
    b"GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    b"HEAD /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nleft over"
)


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


def reader(limits: HttpLimits = LIMITS, gate: Gate | None = None) -> RequestReader:
    return RequestReader(limits, NoReply(), gate)


def read(pieces: Iterable[bytes], gate: Gate | None = None) -> RequestReader:
    """Feed pieces at 1, 2, 3 … ns."""
    fed = reader(gate=gate)
    for now_ns, piece in enumerate(pieces, 1):
        if fed.stage is not Stage.STOPPED:
            fed.feed(piece, now_ns)
    return fed


def facts(exchanges: Iterable[Exchange]) -> list[tuple[object, ...]]:
    return [
        (e.method, e.raw_path, e.query, dict(e.headers), e.body, e.keep_alive, e.http_1_0, e.refusal)
        for e in exchanges
    ]


WHOLE = facts(read([STREAM]).completed)


def test_whole_stream_holds_what_was_sent() -> None:
    assert [(method, path, body, keep) for method, path, _, _, body, keep, *_ in WHOLE] == [
        ("POST", "/a", b"hello", True),
        ("GET", "/b", b"", True),
        ("PUT", "/c", b"abc0123456789", True),
        ("POST", "/up", b"body", True),
        ("GET", "/up", b"", True),
        ("HEAD", "/last", b"", False),
    ]
    assert WHOLE[0][2] == {"x": "1"}
    assert WHOLE[0][3] == {"host": "a", "x-empty": "", "content-length": "5"}
    assert WHOLE[1][3] == {"host": "a", "accept": "text/html, */*"}


@given(cuts=st.sets(st.integers(1, len(STREAM) - 1)))
def test_requests_do_not_depend_on_how_the_stream_is_cut(cuts: set[int]) -> None:
    borders = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in itertools.pairwise(borders)]
    assert facts(read(pieces).completed) == WHOLE


def test_requests_survive_byte_by_byte() -> None:
    assert facts(read(STREAM[at : at + 1] for at in range(len(STREAM))).completed) == WHOLE


@given(cuts=st.sets(st.integers(1, len(STREAM) - 1)))
def test_stamps_are_the_times_of_the_first_and_the_last_byte(cuts: set[int]) -> None:
    borders = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in itertools.pairwise(borders)]

    def fed_at(index: int) -> int:
        return 1 + sum(cut <= index for cut in cuts)

    first = STREAM.index
    second, third, upgraded = first(b"GET /b"), first(b"PUT /c"), first(b"POST /up")
    expected = [
        (fed_at(0), fed_at(second - 1)),
        (fed_at(second), fed_at(third - 3)),
        (fed_at(third), fed_at(upgraded - 1)),
        (fed_at(upgraded), fed_at(first(b"GET /up") - 1)),
    ]
    assert [(e.started_ns, e.received_ns) for e in list(read(pieces).completed)[:4]] == expected


def test_body_of_one_piece_arrives_as_it_was_fed() -> None:
    fed = read([b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n", b"abc", b"def"])
    assert fed.completed[0].body == b"abcdef"
    assert type(fed.completed[0].body) is bytes


def test_stage_follows_the_input() -> None:
    fed = reader()
    stages = []
    for now_ns, piece in enumerate(
        [b"\r\n", b"PO", b"ST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab"], 10
    ):
        fed.feed(piece, now_ns)
        stages.append((fed.stage, fed.since_ns))
    assert stages == [(Stage.IDLE, 0), (Stage.HEAD, 11), (Stage.BODY, 12)]
    assert fed.body_bytes == 2
    fed.feed(b"cd", 13)
    assert fed.stage is Stage.IDLE


def test_head_over_the_limit_is_refused_complete_or_not() -> None:
    long = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 400
    for pieces in (
        [long + b"\r\n\r\n"],
        [long[:100], long[100:300], long[300:] + b"y" * 100],
        [b"GET /" + b"a" * 500],
    ):
        fed = read(pieces)
        assert [e.refusal.status for e in fed.completed if e.refusal] == [431], pieces
        assert fed.stage is Stage.STOPPED


def test_large_body_before_a_small_head_does_not_count_as_head() -> None:
    body = b"x" * 900
    fed = read(
        [
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n" + body + b"GET / HT",
            b"TP/1.1\r\nHost: a\r\n\r\n",
        ]
    )
    assert [e.refusal for e in fed.completed] == [None, None]


def test_announced_body_over_the_limit_is_refused_unread() -> None:
    fed = read([b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\nabc"])
    (exchange,) = fed.completed
    assert exchange.refusal is not None
    assert (exchange.refusal.status, exchange.keep_alive, exchange.body) == (413, False, b"")
    assert fed.stage is Stage.STOPPED


def test_chunked_body_growing_over_the_limit_is_refused() -> None:
    chunk = b"1f4\r\n" + b"x" * 500 + b"\r\n"
    fed = read([CHUNKED_HEAD, chunk, chunk])
    assert not fed.completed
    fed.feed(b"1\r\nx\r\n", 9)
    assert [e.refusal.status for e in fed.completed if e.refusal] == [413]
    assert fed.stage is Stage.STOPPED


def test_chunked_body_of_single_bytes_is_no_fault() -> None:
    fed = read([CHUNKED_HEAD, *[b"1\r\nx\r\n"] * 900, b"0\r\n\r\n"])
    assert fed.completed[0].body == b"x" * 900


def test_endless_chunk_extensions_and_trailers_are_refused() -> None:
    for start in (b"1;", b"1\r\nx\r\n0\r\nX: "):
        fed = read([CHUNKED_HEAD + start, *[b"y" * 90] * 5])
        assert [e.refusal.status for e in fed.completed if e.refusal] == [400]


def test_gate_is_asked_before_the_body_and_sees_the_head() -> None:
    asked: list[tuple[str, str, str | None]] = []

    def gate(head: RequestHead) -> Refusal | None:
        asked.append((head.method, head.path, head.headers.get("content-length")))
        return None

    fed = read([b"POST /%61?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"], gate)
    assert asked == [("POST", "/a", "3")]
    fed.feed(b"abc", 2)
    assert len(asked) == len(fed.completed) == 1


def test_refused_request_with_a_small_body_keeps_the_connection() -> None:
    fed = read(
        [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n"],
        refuse_all,
    )
    assert [(e.refusal, e.keep_alive, e.body) for e in fed.completed] == [(NOT_FOUND, True, b"")] * 2
    assert fed.stage is Stage.IDLE


def test_refused_request_with_an_unwanted_body_stops_the_reader() -> None:
    for more in (
        b"Content-Length: 51\r\n",
        b"Content-Length: 3\r\nExpect: 100-continue\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ):
        fed = read([b"POST / HTTP/1.1\r\nHost: a\r\n" + more + b"\r\n"], refuse_all)
        assert [(e.refusal, e.keep_alive) for e in fed.completed] == [(NOT_FOUND, False)]
        assert not fed.wants_continue
        assert fed.stage is Stage.STOPPED


def refuse_all(_head: RequestHead) -> Refusal:
    return NOT_FOUND


def test_gate_that_raises_costs_its_request_only_a_500() -> None:
    def gate(_head: RequestHead) -> Refusal | None:
        raise KeyError("secret")

    (exchange,) = read([b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"], gate).completed
    assert exchange.refusal is not None
    assert exchange.refusal.status == 500
    assert "secret" not in exchange.refusal.message


def test_continue_is_wanted_only_while_a_body_is_awaited() -> None:
    head = b"POST / HTTP/1.%d\r\nHost: a\r\nContent-Length: %d\r\nExpect: 100-Continue\r\n\r\n"
    assert read([head % (1, 3)]).wants_continue
    assert not read([head % (1, 3) + b"abc"]).wants_continue
    assert not read([head % (1, 0)]).wants_continue
    assert not read([head % (0, 3)]).wants_continue


def test_refusing_while_a_body_arrives_keeps_what_is_known_of_the_request() -> None:
    fed = read([b"POST /v2/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na"])
    fed.refuse(NOT_FOUND)
    (exchange,) = fed.completed
    assert (exchange.method, exchange.raw_path, exchange.refusal) == ("POST", "/v2/x", NOT_FOUND)


def test_many_upgrade_requests_at_once_are_refused() -> None:
    one = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    fed = read([one * 40])
    assert [e.refusal.status for e in fed.completed if e.refusal] == [400]
    assert fed.stage is Stage.STOPPED
