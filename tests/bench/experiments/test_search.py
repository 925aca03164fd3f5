"""The search: its algorithm on made-up servers, its settings as flags and as a file, its measurements."""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import urllib.request
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
from beyond_serve.bench.experiments.search.halving import GRID_SHARE, Plan, search, settle
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
    DEFAULTS,
    described,
    flags_of,
    make_space,
    serve_toml,
    server_settings,
    starting_points,
    within_reach,
)
from beyond_serve.bench.experiments.search.space import Axis, Config, Space
from beyond_serve.bench.experiments.serving import Cores, Measured, ModelSource, Offer
from beyond_serve.bench.load.arrivals import ClosedLoop
from beyond_serve.bench.load.images import MixImage
from beyond_serve.bench.processes import beyond_serve_command, free_port, started
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.errors import ConfigError
from beyond_serve.server.cli import parse_command_line
from beyond_serve.server.config import build_config
from tests.bench.experiments.points import load, result, run_of, table

SPACE = Space(
    (
        Axis("policy", ("fixed", "adaptive"), ordered=False),
        Axis("threads", (1, 2, 4)),
        Axis("instances", (1, 2, 4)),
        Axis("batch", (1, 2, 4, 8, 16, 32)),
        Axis("delay", (0, 500, 2000, 8000)),
        Axis("concurrency", (8, 16, 32, 64, 128, 256)),
    )
)
SMALL = Space((Axis("threads", (1, 2, 4)), Axis("batch", (1, 2, 4, 8)), Axis("concurrency", (8, 16, 32, 64))))


def pipeline(config: Config) -> float:
    """Decoding and inference in a row, with batches that the concurrency may not fill."""
    named = dict(zip((axis.name for axis in SPACE.axes), config, strict=True))
    threads, instances, batch = int(named["threads"]), int(named["instances"]), int(named["batch"])
    in_flight = int(named["concurrency"])
    decode = 700 * min(threads, 2) * (1 - 0.05 * max(0, threads - 2))
    filled = min(batch, max(1, in_flight / (2 * instances)))
    took_ms = 3 + 0.45 * filled
    infer = 1000 * filled / took_ms * min(1, 0.75 + 0.25 * instances) * (1 - 0.06 * max(0, instances - 2))
    waited_ms = int(named["delay"]) / 1000 if in_flight < batch * instances else 0
    rate = (decode**-4 + infer**-4) ** -0.25
    rate = min(rate, 900 * in_flight / (took_ms + 1.4 + waited_ms))
    return rate * (0.97 if named["policy"] == "adaptive" else 1.0)


def ridge(config: Config) -> float:
    """Settings that must change together: threads with instances, batch with concurrency."""
    _, threads, instances, batch, delay, in_flight = SPACE.order(config)
    far = 0.1 * (threads + instances - 3) ** 2 + 0.05 * (batch - in_flight) ** 2 + 0.03 * (batch - 4) ** 2
    return 1000 / (1 + far + 0.04 * (delay - 2) ** 2)


def separable(config: Config) -> float:
    weights, best = (0.2, 0.1, 0.15, 0.05, 0.1, 0.05), (1, 2, 0, 4, 1, 3)
    pairs = zip(SPACE.order(config), best, weights, strict=True)
    return 500 * math.exp(-sum(weight * (place - wanted) ** 2 for place, wanted, weight in pairs))


def small(config: Config) -> float:
    threads, batch, in_flight = SMALL.order(config)
    return 300 / (1 + 0.2 * (threads - 1) ** 2 + 0.1 * (batch - 2) ** 2 + 0.05 * (in_flight - 2) ** 2)


def found_by(space: Space, function: Callable[[Config], float], plan: Plan, seed: int) -> tuple[float, float]:
    """The found one's true value as a share of the best, and the cost as a share of the grid's."""
    rng, spent = random.Random(seed), 0.0

    def evaluate(config: Config, budget: float) -> float:
        nonlocal spent
        spent += budget
        return function(config) * (1 + rng.gauss(0, 0.02 / math.sqrt(budget)))

    *_, last = search(space, evaluate, plan, seed)
    best = max(map(function, space.sample(space.size, rng)))
    return function(last.kept[0]) / best, spent / (space.size * plan.full)


@pytest.mark.parametrize("function", [pipeline, ridge, separable])
def test_finds_the_best_of_thousands_at_a_hundredth_of_the_grid(function: Callable[[Config], float]) -> None:
    plan = Plan(first=30, full=9.0).within(SPACE.size)
    for seed in range(8):
        value, cost = found_by(SPACE, function, plan, seed)
        assert value >= 0.97, seed
        assert cost <= 0.01


def test_finds_the_best_of_few_at_a_quarter_of_the_grid() -> None:
    plan = Plan(first=30, full=9.0).within(SMALL.size)
    for seed in range(8):
        value, cost = found_by(SMALL, small, plan, seed)
        assert value >= 0.97, seed
        assert cost <= GRID_SHARE


def test_same_seed_same_search() -> None:
    def trials(seed: int) -> list[Config]:
        rounds = search(SPACE, lambda config, _budget: pipeline(config), Plan(6, 9.0), seed)
        return [trial.config for one in rounds for trial in one.trials]

    assert trials(1) == trials(1)
    assert trials(1) != trials(2)


def test_rounds_get_fewer_and_longer_and_keep_the_best() -> None:
    start = SPACE.sample(1, random.Random(5))[0]
    rounds = list(search(SPACE, lambda config, _budget: separable(config), Plan(9, 9.0), 0, [start]))
    assert [one.budget for one in rounds] == [1.0, 3.0, 9.0]
    assert [len(one.kept) for one in rounds] == [3, 1, 1]
    assert [len(one.trials) for one in rounds] == [18, 6, 2]
    assert start in [trial.config for trial in rounds[0].trials if trial.parent is None]
    for one in rounds:
        estimates = [estimate for _, estimate in one.ranked]
        assert estimates == sorted(estimates, reverse=True)
        assert one.kept == tuple(config for config, _ in one.ranked[: len(one.kept)])
    stepped = [trial for trial in rounds[0].trials if trial.parent is not None]
    assert all(trial.config in SPACE.neighbours(trial.parent) for trial in stepped if trial.parent)


def test_a_long_measurement_counts_for_more_than_a_lucky_short_one() -> None:
    space = Space((Axis("a", (1, 2)),))
    scores = {((1,), 1.0): 200.0, ((1,), 3.0): 100.0, ((2,), 1.0): 150.0, ((2,), 3.0): 150.0}
    *_, last = search(space, lambda config, budget: scores[config, budget], Plan(2, 3.0, factor=3, rounds=2))
    assert dict(last.ranked)[(1,)] == pytest.approx((200 + 3 * 100) / 4)


def test_a_small_grid_gets_a_small_search() -> None:
    assert Plan(30, 9.0).within(10_000) == Plan(30, 9.0)
    bounded = Plan(30, 9.0).within(48)
    assert 1 < bounded.first < 30
    assert bounded.cost <= GRID_SHARE * 48 * 9.0


def test_neighbours_differ_by_one_step_on_one_axis() -> None:
    space = Space((Axis("policy", ("a", "b", "c"), ordered=False), Axis("batch", (1, 8, 32))))
    assert space.neighbours(("a", 1)) == [("b", 1), ("c", 1), ("a", 8)]


def test_a_sample_uses_every_value_about_equally_often() -> None:
    drawn = SPACE.sample(24, random.Random(0))
    assert len(set(drawn)) == 24
    for place, axis in enumerate(SPACE.axes):
        counts = [sum(config[place] == value for config in drawn) for value in axis.values]
        assert max(counts) - min(counts) <= 2
    assert len(SMALL.sample(1000, random.Random(0))) == SMALL.size


def test_equal_throughput_is_settled_by_the_tail() -> None:
    slow, quick, poor = (("slow",), 100.0, 90.0), (("quick",), 99.0, 20.0), (("poor",), 90.0, 1.0)
    assert settle([slow, quick, poor]) == ("quick",)


def test_axes_can_be_changed_and_mistakes_are_told() -> None:
    space = make_space(2, ["max-batch=32,1,8", "policy=fixed"])
    assert space.axis("max-batch").values == (1, 8, 32)
    assert space.axis("policy").values == ("fixed",)
    for wrong in ("speed=1", "max-batch=fast", "max-batch=", "policy=fixed,fixed"):
        with pytest.raises(ConfigError):
            make_space(2, [wrong])


def test_concurrencies_out_of_reach_are_cut_but_one_stays() -> None:
    space = make_space(2, [])
    assert within_reach(space, 100.0, 1.0).axis(CONCURRENCY).values == (4, 8, 16, 32, 64)
    assert within_reach(space, 0.1, 1.0).axis(CONCURRENCY).values == (4,)


def test_the_defaults_are_where_the_search_starts() -> None:
    space = make_space(2, [])
    named = [space.named(config) for config in starting_points(space, 2)]
    assert [one[CONCURRENCY] for one in named] == [32, 256]
    assert all(one["max-batch"] == 32 and one["decode-threads"] == 2 for one in named)
    assert space.named(make_space(2, ["max-batch=1,40"]).nearest(named[0]))["max-batch"] == 40


CHOSEN = {**DEFAULTS, "decode-threads": 2, "max-batch": 8, "max-delay-us": 500, "policy": "adaptive"}


def test_the_file_says_what_the_flags_would(tmp_path: Path) -> None:
    further = ["--fidelity", "fast", "--token", "secret", "--http", "0.0.0.0:80", "--max-batch", "2"]
    file = tmp_path / "serve.toml"
    file.write_text(serve_toml(ModelSource("digits", "demo"), CHOSEN, further, ["Found by a test."]))
    by_file = build_config([], {}, str(file), {})
    given = parse_command_line(["--model", "digits=demo", "--fidelity", "fast", *flags_of(CHOSEN)])
    assert by_file == build_config(given.models, given.options, None, {})
    assert "secret" not in file.read_text()


@pytest.mark.parametrize(
    ("source", "expected"),
    [("m.onnx", "{here}/m.onnx"), ("sim:t.json", "sim:{here}/t.json"), ("null:", "null:")],
)
def test_the_file_can_be_used_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, expected: str
) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "run" / "serve.toml"
    file.write_text(serve_toml(ModelSource('a "b".c', source), CHOSEN, [], []))
    model = build_config([], {}, str(file), {}).models[0]
    assert (model.name, model.source) == ('a "b".c', expected.format(here=tmp_path))


def test_the_server_starts_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(serve_toml(ModelSource("digits", "demo"), CHOSEN, [], ["Found by a test."]))
    url = f"http://127.0.0.1:{free_port()}"
    address = url.removeprefix("http://")
    command = beyond_serve_command("--config", str(file), "--http", address, "--grpc", "off")
    with (
        started("beyond-serve", command, url, f"{url}/healthz"),
        urllib.request.urlopen(f"{url}/v2/models/digits", timeout=10) as reply,
    ):
        assert reply.status == 200


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
