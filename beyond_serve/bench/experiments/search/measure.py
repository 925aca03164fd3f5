"""The search against real servers: each measurement a point, one server running at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from beyond_serve.bench.experiments.cpu_time import DISTURBED, disturbance
from beyond_serve.bench.experiments.pace import Pace
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.experiments.search.settings import CONCURRENCY, described, flags_of, server_settings
from beyond_serve.bench.experiments.search.space import Config, Space, Value
from beyond_serve.bench.experiments.serving import (
    Cores,
    Measured,
    ModelSource,
    Offer,
    own_cores,
    room_for,
    serving,
)
from beyond_serve.bench.load.arrivals import ClosedLoop
from beyond_serve.bench.load.images import MixImage
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.errors import ConfigError

# Below this many cores, a core of its own for the generator would leave another machine to be tuned.
_FEW_CORES = 4


def whole_machine() -> tuple[Cores, str]:
    """The cores to tune a server on, and a sentence about them.

    A few cores are shared by the server and the load generator: settings found on one of two cores would
    be those of a machine with one.
    """
    cores = tuple(sorted(os.sched_getaffinity(0)))
    if len(cores) >= _FEW_CORES:
        apart = own_cores()
        return apart, apart.sentence()
    said = (
        f"the server has all {len(cores)} cores and shares them with the load generator: settings found with "
        "one core less would be those of another machine"
    )
    return Cores(cores, cores), said


@dataclass(frozen=True, slots=True)
class Goal:
    """What is highest: throughput, or with an SLO (ms, from the schedule) the goodput."""

    slo_ms: float | None = None

    @property
    def name(self) -> str:
        return "requests/s" if self.slo_ms is None else f"requests/s within {self.slo_ms:g} ms"

    def score(self, load: Mapping[str, Any]) -> float:
        """Of a load's summary."""
        key = "throughput_per_s" if self.slo_ms is None else "goodput_per_s"
        return float(load[key] or 0.0)

    def judged(self, measured: Measured) -> Measured:
        """With the SLO in its specification, which a server's offer has no word for."""
        if self.slo_ms is None:
            return measured
        result = measured.result
        spec = dataclasses.replace(result.spec, slo_ms=self.slo_ms)
        return dataclasses.replace(measured, result=dataclasses.replace(result, spec=spec))


class OffersLoad(Protocol):
    """What a server under test can do: `Served`, or a test's."""

    def offer(self, offer: Offer, reporter: Reporter, what: str) -> Measured: ...


class Serve(Protocol):
    """Starts a server with a model and flags: `serving`, or a test's."""

    def __call__(
        self, model: ModelSource, cores: Cores, flags: Sequence[str]
    ) -> AbstractContextManager[OffersLoad]: ...


@dataclass(slots=True)
class Workshop:
    """Measures configurations; keeps the server of the last one, for the next may differ in the load alone.

    Use as a context manager: a server that runs at the end is stopped.

    Attributes:
        space: of the configurations; may be cut once something is known.
        spent_s, starts: seconds of load with warm-ups, and servers started, so far.
    """

    model: ModelSource
    image: MixImage
    space: Space
    goal: Goal
    cores: Cores
    flags: tuple[str, ...]
    run: RunFolder
    reporter: Reporter
    seed: int = 0
    serve: Serve = serving
    spent_s: float = 0.0
    starts: int = 0
    _rate: float = 0.0
    _running: tuple[dict[str, Value], OffersLoad] | None = None
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> Workshop:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._running = None

    def measure(
        self, config: Config, seconds: float, labels: Mapping[str, object], **fields: object
    ) -> dict[str, Any]:
        """One measurement, kept as a point of the run, and returned as it was kept.

        A configuration with which the server does not start scores 0: the search goes on around it.

        Raises:
            ConfigError: not even the first configuration can be served.
            KeyboardInterrupt: the measurement was cut short; it is kept.
        """
        named = self.space.named(config)
        kept = {"settings": named, "budget_s": seconds, **fields}
        shown = {**labels, **named}
        what = f"{' '.join(map(str, labels.values()))}: {described(named)}"
        try:
            server = self._server(server_settings(named))
        except ConfigError as error:
            if self._rate == 0:
                raise
            self.reporter.note(f"{described(named)} cannot be served: {error.message.splitlines()[-1]}")
            self.run.add_point({"labels": shown, "score": 0.0, "spent_s": self.spent_s, **kept})
            return self.run.points[-1]
        measured = self._offer(server, int(named[CONCURRENCY]), seconds, what)
        load = measured.result.summary()
        score = self.goal.score(load)
        simulated = self.model.simulated
        self.run.add_point(
            measured.point(shown, score=score, spent_s=self.spent_s, simulated=simulated, **kept)
        )
        self.run.add_requests(f"point-{len(self.run.points)}", measured.result)
        measured.go_on()
        return self.run.points[-1]

    def _offer(self, server: OffersLoad, concurrency: int, seconds: float, what: str) -> Measured:
        warmup_s, measured_s = Pace(min(0.4, seconds / 3), seconds, 3.0).lengths(concurrency, self._rate)
        offer = Offer(ClosedLoop(concurrency), self.image, measured_s, warmup_s, seed=self.seed)
        measured = self.goal.judged(server.offer(offer, self.reporter, what))
        self.spent_s += warmup_s + measured_s
        if measured.result.throughput_per_s > 0:
            self._rate = measured.result.throughput_per_s
        return measured

    def _server(self, settings: dict[str, Value]) -> OffersLoad:
        if self._running is not None and self._running[0] == settings:
            return self._running[1]
        self._stack.close()
        self._running = None
        highest = max(int(load) for load in self.space.axis(CONCURRENCY).values)
        flags = (*room_for(highest, len(self.image.data)), *self.flags, *flags_of(settings))
        server = self._stack.enter_context(self.serve(self.model, self.cores, flags))
        self.starts += 1
        self._running = (settings, server)
        return server


def tails_ms(points: Sequence[Mapping[str, Any]]) -> list[float]:
    """The tail latency of each point: the finest percentile that all of them can tell."""
    latencies = [point.get("load", {}).get("latency_ms", {}) for point in points]
    for name in ("p99", "p95", "p90", "p50"):
        if all(latency.get(name) is not None for latency in latencies):
            return [float(latency[name]) for latency in latencies]
    return [math.inf] * len(latencies)


def disturbed(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for tables of points whose server shared its cores with others, told of or not."""
    if all(point["spec"]["cores"] for point in points if "spec" in point):
        return disturbance(points)
    shares = [float(point["server"].get("others_cpu") or 0.0) for point in points if "server" in point]
    if not shares or statistics.median(shares) <= DISTURBED:
        return []
    return [
        f"programs beside the server, the load generator among them, took {100 * min(shares):.0f} to "
        f"{100 * max(shares):.0f} % of its cores, {100 * statistics.median(shares):.0f} % in the median"
    ]
