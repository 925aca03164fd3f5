"""The clients: some send what they should, some leave, all at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from tests.chaos.cases import Case, Deck
from tests.chaos.http_connection import HttpConnection
from tests.chaos.senders import GrpcSender, HttpPool, Sender, infer_message, infer_request
from tests.chaos.tally import Tally

BOUND_S = 5.0
"""How long after its deadline an answer may come: clients and server share two cores with the chaos."""


class Clients:
    """Everything that sends. State: what is under way; `until` ends it.

    Attributes:
        running: false once no new request may be sent.
    """

    def __init__(self, tally: Tally, seed: int) -> None:
        self.tally = tally
        self.running = True
        self._seed = seed
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()

    def deck(self, name: str) -> Deck:
        return Deck(f"{self._seed} {name}")

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Send no more, and wait for all that was sent to end; each has a time limit of its own."""
        self.running = False
        self._stopped.set()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def ask(self, sender: Sender, case: Case) -> None:
        """Send one request and judge what comes."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(case.deadline_s + BOUND_S):
                reply = await sender.send(case)
        except TimeoutError:
            self.tally.unanswered(sender.transport, case, f"nothing came in {case.deadline_s + BOUND_S:g} s")
        except OSError as error:
            self.tally.unanswered(sender.transport, case, repr(error))
        else:
            self.tally.answered(sender.transport, case, reply, time.monotonic() - began)

    async def poisson(self, name: str, senders: Sequence[Sender], rate: float) -> None:
        """An open loop: `rate` requests a second to the overloaded model, whatever the server does."""
        deck = self.deck(name)
        due = time.monotonic()
        while self.running:
            due += deck.gap_s(rate)
            await self._pause(due - time.monotonic())
            sender = senders[int(deck.seconds(len(senders))) % len(senders)]
            self.start(self.ask(sender, deck.rows()))

    async def closed(self, name: str, sender: Sender, choose: Callable[[Deck], Case]) -> None:
        """A closed loop: one request after the other."""
        deck = self.deck(name)
        while self.running:
            await self.ask(sender, choose(deck))

    async def bursts(self, name: str, sender: Sender, size: int, every_s: float) -> None:
        """Many requests at once, now and then."""
        deck = self.deck(name)
        while self.running:
            for _ in range(size):
                self.start(self.ask(sender, deck.digits()))
            await self._pause(every_s)

    async def leaving_http(self, name: str, pool: HttpPool, every_s: float) -> None:
        """Connections closed in the middle of a head or a body, behind it, or while waiting."""
        deck = self.deck(name)
        while self.running:
            case, where = deck.any(), deck.pick(("mid-head", "mid-body", "after the body", "while waiting"))
            connection = await HttpConnection.connect(*pool.address)
            head, body = infer_request(case)
            if where == "mid-head":
                connection.push(head[: len(head) // 2])
            elif where == "mid-body":
                connection.push(head, body[: len(body) // 2])
            else:
                connection.send(head, body).add_done_callback(_heard)
            await self._pause(0 if where == "after the body" else deck.seconds(0.1))
            connection.leave()
            self.tally.left("HTTP", where, case)
            await self._pause(deck.seconds(2 * every_s))

    async def leaving_grpc(self, name: str, sender: GrpcSender, every_s: float) -> None:
        """Calls cancelled at once, or while waiting."""
        deck = self.deck(name)
        while self.running:
            case, where = deck.any(), deck.pick(("at once", "while waiting"))
            call = sender.call(infer_message(case))
            if where == "while waiting":
                await self._pause(deck.seconds(0.1))
            call.cancel()
            self.tally.left("gRPC", where, case)
            await self._pause(deck.seconds(2 * every_s))

    async def _pause(self, seconds: float) -> None:
        """Let that time pass, or the run's end come."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            pass

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.tally.faults.append(f"a client failed: {error!r}")


def _heard(answer: asyncio.Future[Any]) -> None:
    """The answer that its client does not wait for, or the error in its place."""
    if not answer.cancelled():
        answer.exception()
