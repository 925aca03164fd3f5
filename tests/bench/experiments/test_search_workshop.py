"""The whole search against servers that are made up."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from beyond_serve.bench.experiments.counters import Counters
from beyond_serve.bench.experiments.cpu_time import CpuShares
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.experiments.search import EXPERIMENT
from beyond_serve.bench.experiments.search.figures import gain
from beyond_serve.bench.experiments.search.halving import Plan
from beyond_serve.bench.experiments.search.measure import Goal, Workshop, disturbed, tails_ms
from beyond_serve.bench.experiments.search.run import (
    Found,
    asked_goal,
    asked_plan,
    confirmed,
    confirmed_or_defaults,
    find,
)
from beyond_serve.bench.experiments.search.settings import (
    CONCURRENCY,
    described,
    make_space,
    server_settings,
)
from beyond_serve.bench.experiments.serving import Cores, Measured, ModelSource, Offer
from beyond_serve.bench.load.arrivals import ClosedLoop
from beyond_serve.bench.load.images import MixImage
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.errors import ConfigError
from tests.bench.experiments.points import load, result, run_of, table
from tests.bench.experiments.test_search import CHOSEN


@dataclass
class FakeServers:
    """Serves nothing: answers every load with requests of 10 ms, a rate that `rate_of` its flags gives."""

    rate_of: Callable[[Sequence[str], int], float]
    broken: Callable[[Sequence[str]], bool] = lambda flags: False
    started: list[tuple[str, ...]] = field(default_factory=list)
    offers: list[Offer] = field(default_factory=list)
    running: int = 0
    interrupt_at: int = -1

    @contextlib.contextmanager
    def __call__(self, model: ModelSource, cores: Cores, flags: Sequence[str]) -> Iterator[FakeServers]:
        assert self.running == 0, "two servers run at the same time"
        if self.broken(flags):
            raise ConfigError("no such engine")
        self.started.append(tuple(flags))
        self.running += 1
        yield self
        self.running -= 1

    def offer(self, offer: Offer, reporter: Reporter, what: str) -> Measured:
        assert isinstance(offer.arrivals, ClosedLoop)
        count = round(self.rate_of(self.started[-1], offer.arrivals.concurrency))
        self.offers.append(offer)
        found = result(table([{}] * count, [9000.0] * count), 1.0, offer.arrivals)
        if len(self.offers) == self.interrupt_at:
            object.__setattr__(found, "interrupted", True)
        return Measured(found, CpuShares(), Counters())


def rate_by_batch(flags: Sequence[str], in_flight: int) -> float:
    batch = int(flags[list(flags).index("--max-batch") + 1])
    return {1: 40.0, 8: 90.0, 32: 60.0}[batch] * min(1.0, in_flight / 16)


def workshop(tmp_path: Path, servers: FakeServers, goal: Goal | None = None) -> Workshop:
    changes = ["decode-threads=1", "instances=1,2", "policy=fixed", "max-batch=1,8,32", "concurrency=8,16"]
    space = make_space(1, [*changes, "max-delay-us=0"])
    run = RunFolder.create(tmp_path, "search", {})
    image = MixImage("medium", b"jpeg", 1.0)
    demo, cores = ModelSource("demo", "demo"), Cores((0,), (0,))
    return Workshop(demo, image, space, goal or Goal(), cores, (), run, Reporter(), serve=servers)


def test_the_whole_search_against_servers(tmp_path: Path) -> None:
    servers = FakeServers(rate_by_batch)
    with workshop(tmp_path, servers) as shop:
        found = confirmed_or_defaults(shop, find(shop, Plan(6, 1.0, rounds=2)), 1.0, 2)
    assert (found.settings["max-batch"], found.settings[CONCURRENCY]) == (8, 16)
    assert found.estimate == pytest.approx(90.0)
    assert found.gain == pytest.approx(1.5)
    assert gain(shop.run) == pytest.approx(30.0)
    assert servers.running == 0
    drawn = RunFolder.open(shop.run.path)
    assert {table.title for table in EXPERIMENT.tables(drawn)} == {
        "The search, round by round",
        "The last round's best",
        "Confirmed",
        "What the search cost",
    }
    assert [figure.name for figure in EXPERIMENT.plots(drawn)] == ["search-progress", "search-settings"]


def test_a_server_that_did_not_start_once_does_not_count_as_slow(tmp_path: Path) -> None:
    servers = FakeServers(rate_by_batch, broken=lambda flags: "32" in flags and len(servers.started) == 1)
    with workshop(tmp_path, servers) as shop:
        better = Found(shop.space.named((1, 1, "fixed", 8, 0, 16)), 90.0)
        shop.measure((1, 1, "fixed", 8, 0, 16), 1.0, {})
        kept = confirmed_or_defaults(shop, better, 1.0, 2)
    assert kept.gain == pytest.approx(1.5)
    assert len(confirmed(shop.run.points, "defaults")) == 1


def test_only_the_load_changes_without_a_new_server(tmp_path: Path) -> None:
    servers = FakeServers(rate_by_batch)
    with workshop(tmp_path, servers) as shop:
        shop.measure((1, 1, "fixed", 8, 0, 8), 1.0, {})
        shop.measure((1, 1, "fixed", 8, 0, 16), 1.0, {})
        shop.measure((1, 1, "fixed", 1, 0, 16), 1.0, {})
    assert len(servers.started) == shop.starts == 2
    assert shop.spent_s > 3.0


def test_settings_that_cannot_be_served_score_nothing(tmp_path: Path) -> None:
    servers = FakeServers(rate_by_batch, broken=lambda flags: "2" in flags)
    with workshop(tmp_path, servers) as shop:
        with pytest.raises(ConfigError):
            shop.measure((1, 2, "fixed", 8, 0, 8), 1.0, {})
        shop.measure((1, 1, "fixed", 8, 0, 8), 1.0, {})
        assert shop.measure((1, 2, "fixed", 8, 0, 8), 1.0, {})["score"] == 0.0
        assert "no such engine" in shop.reporter.notes[0]


def test_goodput_counts_what_is_in_time(tmp_path: Path) -> None:
    for slo_ms, expected in ((11.0, 45.0), (9.5, 0.0)):
        with workshop(tmp_path, FakeServers(rate_by_batch), Goal(slo_ms)) as shop:
            point = shop.measure((1, 1, "fixed", 8, 0, 8), 1.0, {})
        assert (point["score"], point["load"]["slo_ms"]) == (expected, slo_ms)


def test_an_interrupted_measurement_is_kept(tmp_path: Path) -> None:
    servers = FakeServers(rate_by_batch, interrupt_at=3)
    with pytest.raises(KeyboardInterrupt), workshop(tmp_path, servers) as shop:
        find(shop, Plan(6, 1.0, rounds=2))
    kept = RunFolder.open(shop.run.path)
    assert len(kept.points) == 3
    assert EXPERIMENT.plots(kept)
    assert servers.running == 0


def test_nothing_measured_can_be_drawn() -> None:
    assert EXPERIMENT.tables(run_of()) == []
    assert len(EXPERIMENT.plots(run_of())) == 2
    assert EXPERIMENT.published[0].ours(run_of()) is None


def test_nothing_better_is_said_and_not_measured_again(tmp_path: Path) -> None:
    servers = FakeServers(lambda flags, in_flight: rate_by_batch(flags, in_flight) if "32" in flags else 10.0)
    with workshop(tmp_path, servers) as shop:
        found = find(shop, Plan(6, 1.0, rounds=2))
        before = len(servers.offers)
        assert confirmed_or_defaults(shop, found, 1.0, 2) == found
    assert len(servers.offers) == before


def test_a_lucky_finding_does_not_replace_the_defaults(tmp_path: Path) -> None:
    servers = FakeServers(rate_by_batch)
    with workshop(tmp_path, servers) as shop:
        lucky = Found(shop.space.named((1, 1, "fixed", 1, 0, 16)), 500.0)
        kept = confirmed_or_defaults(shop, lucky, 1.0, 3)
    assert (kept.settings["max-batch"], kept.estimate, kept.gain) == (32, 60.0, None)


def test_tails_are_compared_by_what_all_points_can_tell() -> None:
    latencies: list[dict[str, Any]] = [{"p99": 9.0, "p95": 5.0}, {"p99": None, "p95": 6.0}]
    assert tails_ms([{"load": {"latency_ms": one}} for one in latencies]) == [5.0, 6.0]
    assert tails_ms([{}]) == [math.inf]


def test_who_else_used_the_cores_is_told() -> None:
    shared = {"labels": {}, "load": load(), "spec": {"cores": []}, "server": {"others_cpu": 0.4}}
    apart = shared | {"spec": {"cores": [1]}}
    assert disturbed([shared | {"server": {"others_cpu": 0.05}}]) == []
    assert "load generator among them" in disturbed([shared])[0]
    assert disturbed([apart])[0].startswith("DISTURBED")


def asked(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    EXPERIMENT.add_arguments(parser)
    return parser.parse_args(words)


def test_arguments_are_checked() -> None:
    assert asked_plan(asked("--quick")).cost < 20
    assert asked_plan(asked("--first", "5", "--seconds", "2")) == Plan(5, 2.0)
    assert asked_goal(asked("--slo", "50")) == Goal(50.0)
    with pytest.raises(ConfigError):
        asked_plan(asked("--first", "0"))
    with pytest.raises(ConfigError):
        asked_goal(asked("--slo", "-1"))


def test_settings_are_told_in_a_line() -> None:
    assert described(CHOSEN | {CONCURRENCY: 64}) == (
        "2 threads, 1 instance, batch 8, 500 us, adaptive, 64 in flight"
    )
    assert CONCURRENCY not in server_settings(CHOSEN | {CONCURRENCY: 64})
