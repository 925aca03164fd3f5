"""The search: its algorithm on made-up servers, its settings as flags and as a file, its measurements."""

from __future__ import annotations

import math
import random
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from beyond_serve.bench.experiments.search.halving import GRID_SHARE, Plan, search, settle
from beyond_serve.bench.experiments.search.settings import (
    CONCURRENCY,
    DEFAULTS,
    flags_of,
    make_space,
    serve_toml,
    starting_points,
    within_reach,
)
from beyond_serve.bench.experiments.search.space import Axis, Config, Space
from beyond_serve.bench.experiments.serving import ModelSource
from beyond_serve.bench.processes import beyond_serve_command, free_port, started
from beyond_serve.errors import ConfigError
from beyond_serve.server.cli import parse_command_line
from beyond_serve.server.config import build_config

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
