"""One run of the chaos: load, calm, checks, end."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
from rich.console import Console
from rich.table import Table

from tests.chaos.cases import Deck
from tests.chaos.load import Clients
from tests.chaos.senders import (
    GrpcSender,
    HalfClosing,
    HttpPool,
    InferSender,
    Pipelined,
    PredictSender,
    Sender,
)
from tests.chaos.stream import StreamSender
from tests.chaos.tally import Tally
from tests.chaos.victim import Samples, Victim, victim

OVERLOAD = 2.0
CALM_S = 15.0
"""In which the server must be ready again, with empty queues and free slots."""

MOST_GROWTH_MIB = 64.0
"""By which the server's own process may be larger at the end than after the first seconds of load. An
invented bound, far above what allocators keep and far below what leaked images or slots would make."""


@dataclass(frozen=True)
class Chaos:
    """How much, for how long. kill_every_s: on average."""

    seconds: float
    seed: int
    measure_s: float = 3.0
    kill_every_s: float = 4.0
    work: int = 24


@dataclass
class Report:
    """What was seen, for reading. `tally.faults` holds all that was wrong."""

    tally: Tally
    capacity: float = 0.0
    rate: float = 0.0
    killed: int = 0
    memory_mib: list[float] = field(default_factory=list)
    longest_queue: float = 0.0
    most_late_s: float = 0.0
    calm_after_s: float = 0.0
    exit_status: int | None = None
    metrics: Samples = field(default_factory=dict)

    def table(self) -> Table:
        table = Table(title="The server", show_header=False)
        counted = self.metrics
        cancelled = sum(n for name, n in counted.items() if name.startswith("beyond_cancelled_total"))
        retries = sum(n for name, n in counted.items() if 'release="retry"' in name)
        fast = counted.get('beyond_rung_images_total{model="digits",rung="fast"}', 0)
        for name, value in (
            ("capacity of 'rows', measured", f"{self.capacity:.0f} requests/s"),
            ("offered to it", f"{self.rate:.0f} requests/s"),
            ("instances killed", f"{self.killed}"),
            ("requests run again, alone", f"{retries:.0f}"),
            ("images cancelled by leaving clients", f"{cancelled:.0f}"),
            ("images of 'digits' at the ladder's second rung", f"{fast:.0f}"),
            ("longest queue seen", f"{self.longest_queue:.0f}"),
            ("slowest answer, after its deadline", f"{self.tally.slowest_over_s:.2f} s"),
            ("memory, at each fifth of the run", f"{', '.join(self._memory())} MiB"),
            ("calm after", f"{self.calm_after_s:.1f} s"),
            ("exit status after SIGTERM", f"{self.exit_status}"),
        ):
            table.add_row(name, value)
        return table

    def _memory(self) -> list[str]:
        last = len(self.memory_mib) - 1
        return [f"{self.memory_mib[last * part // 5]:.0f}" for part in range(6)]

    def print(self, console: Console) -> None:
        console.print(*self.tally.tables(), self.tally.abandoned_table(), self.table())
        console.print(f"[red]{self.tally.shown_faults()}" if self.tally.faults else "[green]no fault")


def run(chaos: Chaos, progress: Callable[[str], None] = lambda _: None) -> Report:
    """Serve, hurt, check. Blocks; the report's tally holds every fault."""
    with victim(chaos.work) as server:
        report = asyncio.run(_Run(chaos, server, progress).run())
        instances = server.instances()
        report.killed = server.killed
        report.exit_status = server.server.stop(signal.SIGTERM)
        _check_end(report, server, len(instances))
    return report


def _check_end(report: Report, server: Victim, instances: int) -> None:
    faults = report.tally.faults
    if instances != 3:
        faults.append(f"{instances} instance processes at the end, not 3")
    if report.exit_status != 0:
        faults.append(f"SIGTERM ended the server with {report.exit_status}")
    if orphans := server.orphans():
        faults.append(f"processes outlived the server: {orphans}")
    if "Traceback" in (log := server.log()):
        faults.append(f"the server's log holds a stack: {log[log.index('Traceback') :][:2000]}")


class _Run:
    """The part with an event loop."""

    def __init__(self, chaos: Chaos, server: Victim, progress: Callable[[str], None]) -> None:
        self._chaos = chaos
        self._server = server
        self._progress = progress
        self._tally = Tally()
        self._report = Report(self._tally)
        self._pool = HttpPool(*server.http)
        self._idle: Samples = {}

    async def run(self) -> Report:
        chaos, report = self._chaos, self._report
        self._idle = await self._server.metrics()
        # One connection each: two channels to one address share a connection otherwise.
        alone = (("grpc.use_local_subchannel_pool", 1),)
        address = self._server.server.grpc
        async with (
            grpc.aio.insecure_channel(address, options=alone) as channel,
            grpc.aio.insecure_channel(address, options=alone) as other,
        ):
            stream = StreamSender(channel)
            senders: list[Sender] = [
                PredictSender(self._pool),
                InferSender(self._pool),
                GrpcSender(channel),
                GrpcSender(other, as_deadline=True),
                stream,
            ]
            report.capacity = await self._capacity()
            report.rate = OVERLOAD * report.capacity
            await self._watch_one()
            await self._storm(senders, GrpcSender(other))
            await self._calm()
            await stream.close()
            unasked = self._pool.unasked + stream.unasked
            if unasked:
                self._tally.faults.append(f"{unasked} answers came that nobody had asked for")
            if chaos.seconds >= 60:
                self._check_all_was_seen(senders)
            self._pool.close()
            self._server.disconnect()
        return report

    async def _capacity(self) -> float:
        """Requests a second that the first model answers to clients who wait for each answer."""
        clients = Clients(self._tally, self._chaos.seed)
        before = self._tally.images_ok.copy()
        began = time.monotonic()
        for number in range(12):
            clients.start(clients.closed(f"measure {number}", InferSender(self._pool), _only_good))
        for number in range(2):
            clients.start(clients.closed(f"beside {number}", PredictSender(self._pool), Deck.digits))
        await asyncio.sleep(self._chaos.measure_s)
        took = time.monotonic() - began
        done = self._tally.images_ok - before
        await clients.stop()
        return max(20.0, done["rows"] / took)

    async def _storm(self, senders: list[Sender], leaver: GrpcSender) -> None:
        chaos, pool = self._chaos, self._pool
        clients = Clients(self._tally, chaos.seed)
        clients.start(clients.poisson("overload", senders, self._report.rate))
        for number, sender in enumerate(senders):
            clients.start(clients.closed(f"digits {number}", sender, Deck.digits))
        clients.start(clients.closed("pipelined", Pipelined(pool), Deck.any))
        clients.start(clients.closed("half-closed", HalfClosing(pool), Deck.any))
        clients.start(clients.bursts("bursts", InferSender(pool), 120, 2.0))
        clients.start(clients.leaving_http("leaving http", pool, 0.05))
        clients.start(clients.leaving_grpc("leaving grpc", leaver, 0.05))
        until = time.monotonic() + chaos.seconds
        killing = asyncio.ensure_future(self._kill(until))
        while (left := until - time.monotonic()) > 0:
            self._progress(
                f"{left:4.0f} s left, {self._tally.requests:,} answered, "
                f"{self._server.killed} killed, {len(self._tally.faults)} faults"
            )
            await asyncio.sleep(min(1.0, left))
            await self._watch_one()
        await killing
        self._progress("waiting for the last answers")
        await clients.stop()

    async def _kill(self, until: float) -> None:
        rng = random.Random(f"{self._chaos.seed} kill")
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, rng.uniform(0.5, 1.5) * self._chaos.kill_every_s))
            self._server.kill_one(rng)

    async def _watch_one(self) -> None:
        samples = await self._server.metrics()
        self._server.instances()
        self._report.memory_mib.append(self._server.resident_mib())
        queue = max(n for name, n in samples.items() if name.startswith("beyond_queue_length"))
        self._report.longest_queue = max(self._report.longest_queue, queue)

    async def _calm(self) -> None:
        """Wait until the server is as before the chaos, and check that it is, and what it counted."""
        began = time.monotonic()
        clients, deck = Clients(self._tally, self._chaos.seed), Deck("calm")
        amiss = ["not looked at yet"]
        while amiss and time.monotonic() - began < CALM_S:
            # An instance that was killed while idle is noticed, and replaced, with its next batch.
            for _ in range(4):
                await clients.ask(InferSender(self._pool), _only_good(deck))
                await clients.ask(InferSender(self._pool), deck.digits())
            samples = await self._server.metrics()
            amiss = [f"{name} is {samples.get(name)}, was {was}" for name, was in self._still(samples)]
            if not await self._server.ready():
                amiss.append("the server is not ready")
        self._report.calm_after_s = time.monotonic() - began
        self._report.metrics = samples
        self._tally.faults += amiss
        self._report.memory_mib.append(self._server.resident_mib())
        growth = self._report.memory_mib[-1] - self._report.memory_mib[0]
        if growth > MOST_GROWTH_MIB:
            self._tally.faults.append(f"the server's memory grew by {growth:.0f} MiB")
        self._check_counts(samples)

    def _still(self, samples: Samples) -> list[tuple[str, float]]:
        """The gauges that are not what they were before the first request."""
        gauges = ("beyond_queue_length", "beyond_queue_bytes", "beyond_slots_free", "beyond_instances_alive")
        return [
            (name, was)
            for name, was in self._idle.items()
            if name.startswith(gauges) and samples.get(name) != was
        ]

    def _check_counts(self, samples: Samples) -> None:
        """The server must have counted each result once, no more and no less than clients have."""
        for model in ("rows", "digits"):
            counted = samples[f'beyond_images_total{{model="{model}"}}']
            least = self._tally.images_ok[model]
            most = least + self._tally.images_unknown[model]
            if not least <= counted <= most:
                self._tally.faults.append(
                    f"the server counted {counted:.0f} results of '{model}', its clients {least} to {most}"
                )

    def _check_all_was_seen(self, senders: list[Sender]) -> None:
        """A long run in which something did not happen has not tested it."""
        kinds = {(kind, outcome) for _, kind, outcome in self._tally.outcomes}
        wanted = {("poison", "engine"), ("truncated", "image_decode"), ("lying", "payload_too_large")}
        wanted |= {("empty", "unsupported_image"), ("good", "queue_full"), ("good", "deadline_exceeded")}
        missing = [f"{kind} → {outcome}" for kind, outcome in sorted(wanted - kinds)]
        missing += [sender.transport for sender in senders if not self._tally.successes(sender.transport)]
        if not self._report.metrics.get('beyond_rung_images_total{model="digits",rung="fast"}'):
            missing.append("the ladder's second rung")
        if missing:
            self._tally.faults.append(f"never seen: {', '.join(missing)}")


def _only_good(deck: Deck) -> object:
    case = deck.rows()
    while case.kind != "good":
        case = deck.rows()
    return case
