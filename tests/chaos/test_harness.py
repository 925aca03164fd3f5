"""The chaos run itself sees what it is there to see."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.chaos import poison
from tests.chaos.cases import Case, Deck, Reply, fault
from tests.chaos.http_connection import AnswerReader, HttpConnection
from tests.chaos.load import Clients
from tests.chaos.senders import HttpPool, PredictSender
from tests.chaos.tally import Tally
from tests.chaos.victim import parse_metrics

GOOD = Case("good", "rows", (poison.image(7),), (7,))
ENDLESS = Case("good", "digits", (b"",), (3,))
POISON = Case("poison", "rows", (poison.image(7, poisonous=True),), errors=frozenset(("engine",)))
ANSWER = b'{"predictions":[{"index":7}]}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)


@pytest.mark.parametrize(
    ("case", "reply", "words"),
    [
        (GOOD, Reply("", (7,)), None),
        (GOOD, Reply("", (8,)), "in place of"),
        (GOOD, Reply("", (7, 7)), "in place of"),
        (GOOD, Reply("queue_full"), None),
        (GOOD, Reply("deadline_exceeded"), None),
        (GOOD, Reply("instance_lost"), None),
        (ENDLESS, Reply("instance_lost"), None),
        (ENDLESS, Reply("deadline_exceeded"), "'deadline_exceeded'"),
        (replace(ENDLESS, timeout_ms=100), Reply("deadline_exceeded"), None),
        (GOOD, Reply("engine"), "'engine'"),
        (GOOD, Reply("shutting_down"), "'shutting_down'"),
        (POISON, Reply("engine"), None),
        (POISON, Reply("", (7,)), "succeeded"),
        (POISON, Reply("image_decode"), "'image_decode'"),
    ],
)
def test_what_may_answer_what(case: Case, reply: Reply, words: str | None) -> None:
    found = fault(case, reply)
    assert found is None if words is None else words in str(found)


def test_a_seed_deals_the_same_cases_and_all_kinds() -> None:
    decks = [Deck("4 overload"), Deck("4 overload")]
    first, second = ([deck.any() for _ in range(400)] for deck in decks)
    assert first == second
    assert {case.kind for case in first} == {
        *("good", "good, several", "poison", "hurried", "truncated", "empty", "lying", "no image")
    }


def test_answers_are_cut_wherever_they_were_split() -> None:
    stream = b"HTTP/1.1 100 Continue\r\n\r\n" + OK + OK[:-1]
    for size in (1, 7, len(stream)):
        reader = AnswerReader()
        pieces = (stream[at : at + size] for at in range(0, len(stream), size))
        (answer,) = [answer for piece in pieces for answer in reader.feed(piece)]
        assert (answer.status, answer.body) == (200, ANSWER)
        assert reader.rest


@pytest.mark.parametrize(
    ("sent", "unasked", "faults"),
    [
        (OK, 0, []),
        (OK + OK, 1, []),
        (OK + b"H", 1, []),
        (OK.replace(b"7", b"8"), 0, ["[8] in place of [7]"]),
        (OK[:-1], 0, ["was not answered: ConnectionResetError"]),
        (b"", 0, ["was not answered: ConnectionResetError"]),
    ],
)
async def test_a_server_that_lies_repeats_itself_or_leaves_is_found_out(
    sent: bytes, unasked: int, faults: list[str]
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        pool = HttpPool(*server.sockets[0].getsockname())
        clients = Clients(Tally(), seed=0)
        await clients.ask(PredictSender(pool), GOOD)
        await asyncio.gather(*(connection.closed for connection in pool.all))
    assert pool.unasked == unasked
    assert len(clients.tally.faults) == len(faults)
    assert all(words in found for words, found in zip(faults, clients.tally.faults, strict=True))


async def test_a_server_that_never_answers_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.chaos.load.BOUND_S", 0.01)
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        pool = HttpPool(*server.sockets[0].getsockname())
        clients = Clients(Tally(), seed=0)
        hurried = Case("hurried", "rows", GOOD.images, GOOD.right, timeout_ms=1)
        await clients.ask(PredictSender(pool), hurried)
        gone.set()
        pool.close()
        await asyncio.gather(*(connection.closed for connection in pool.all))
    assert ["nothing came" in found for found in clients.tally.faults] == [True]


async def test_leaving_is_seen_by_the_server() -> None:
    ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.set_result(await reader.read())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        connection = await HttpConnection.connect(*server.sockets[0].getsockname())
        connection.push(b"POST /pre")
        connection.leave()
        assert await ended == b"POST /pre"


def test_metrics_are_read_with_their_labels() -> None:
    text = '# HELP a b\na{x="1",y="z"} 3.0\nb_total 1e3\n'
    assert parse_metrics(text) == {'a{x="1",y="z"}': 3.0, "b_total": 1000.0}
