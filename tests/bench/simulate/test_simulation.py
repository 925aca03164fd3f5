"""The server's own parts in virtual time, against what queueing theory and arithmetic say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from beyond_serve.batching import Lane
from beyond_serve.bench.load.arrivals import Bursts, ConstantRate, Poisson
from beyond_serve.bench.simulate.arrivals import Closed, Open
from beyond_serve.bench.simulate.decoders import Decoding, SimImage
from beyond_serve.bench.simulate.instance import Jitter, Latency
from beyond_serve.bench.simulate.record import Outcome
from beyond_serve.bench.simulate.result import SimResult
from beyond_serve.bench.simulate.scenario import POLICIES, VIT_BASE_LIKE, Scenario, capacity
from beyond_serve.bench.simulate.simulation import simulate
from beyond_serve.engines.sim_engine import SimTable
from beyond_serve.errors import ConfigError
from beyond_serve.server.config import ModelConfig

MS = 1_000_000
ALONE = SimTable("alone", (224, 224, 3), 10, ((1, 2.0),))
"""Batching does not pay: 500/s."""


def a_scenario(
    arrivals: Open | Closed, requests: int = 2000, table: SimTable = VIT_BASE_LIKE, **model: object
) -> Scenario:
    return Scenario(Latency(table), ModelConfig("m", "sim:", **model), arrivals, requests)  # type: ignore[arg-type]


def columns(result: SimResult) -> tuple[bytes, bytes, bytes]:
    record = result.record
    return record.ended_ns.tobytes(), bytes(record.outcome), record.batch_size.tobytes()


def test_what_never_waits_takes_its_batch_s_time() -> None:
    result = simulate(a_scenario(ConstantRate(100.0), 200))
    assert result.answered_ns.tolist() == [3 * MS] * 180
    assert result.throughput_per_s == pytest.approx(100, rel=0.01)
    assert result.busy == pytest.approx(0.3, rel=0.01)
    assert set(result.batch_sizes.tolist()) == {1}


def test_the_mean_wait_is_pollaczek_and_khinchine_s() -> None:
    """M/D/1: half of l * rho / (1 - rho)."""
    rho = 0.6
    given = a_scenario(Poisson(500 * rho), 10_000, ALONE, max_batch=1, max_queue=100_000)
    assert simulate(given).mean_ms - 2 == pytest.approx(2 * rho / (1 - rho) / 2, rel=0.05)


def test_a_closed_loop_keeps_little_s_law() -> None:
    result = simulate(a_scenario(Closed(40), 8000))
    assert result.summary()["littles_law_error"] == pytest.approx(0, abs=0.02)
    assert result.throughput_per_s == pytest.approx(capacity(Latency(VIT_BASE_LIKE), 32, 1), rel=0.1)


def test_one_client_waits_for_its_answer_and_thinks() -> None:
    result = simulate(a_scenario(Closed(1, think_ns=MS), 100))
    assert set(result.answered_ns.tolist()) == {3 * MS}
    assert result.throughput_per_s == pytest.approx(250, rel=0.02)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("load", [0.6, 1.5])
def test_every_request_ends_once_and_the_same_seed_is_the_same_run(policy: str, load: float) -> None:
    given = a_scenario(Poisson(load * 1778), 800, policy=policy, max_queue=200)
    given = replace(given, slo_ms=40.0, latency=Latency(VIT_BASE_LIKE, jitter=0.2))
    result = simulate(given)
    assert Outcome.OPEN not in set(result.outcome.tolist())
    answered = int(np.count_nonzero(result.outcome == Outcome.ANSWERED))
    assert sum(result.record.batch_size) == answered + result.record.wasted
    assert np.all(result.ended_ns >= result.arrived_ns)
    assert max(result.record.batch_size) <= 32
    assert columns(result) == columns(simulate(given))
    assert columns(result) != columns(simulate(replace(given, seed=1)))


def test_no_answer_comes_after_a_deadline_that_the_server_knows() -> None:
    given = a_scenario(Poisson(3000.0), 3000, policy="fixed")
    told = simulate(replace(given, slo_ms=50.0))
    assert told.answered_ns.max() <= 50 * MS
    assert told.goodput_per_s == told.throughput_per_s
    untold = simulate(replace(given, slo_ms=50.0, told=False))
    assert untold.answered_ns.max() > 50 * MS
    assert (untold.goodput_per_s or 0) < untold.throughput_per_s


def test_what_finds_the_queue_full_is_refused_and_counted() -> None:
    result = simulate(a_scenario(Bursts(50, 1.0), 100, max_queue=40))
    assert np.count_nonzero(result.outcome == Outcome.FULL) == 20


def test_what_cannot_be_met_is_refused_at_the_door() -> None:
    result = simulate(replace(a_scenario(Bursts(100, 1.0), 300), slo_ms=30.3))
    # A full batch until 18 ms, and 20 more until 30; of the 21st one knows when it comes that it cannot be.
    assert np.count_nonzero(result.outcome == Outcome.ANSWERED) == 3 * 52
    assert np.count_nonzero(result.outcome == Outcome.REFUSED) == 3 * 48
    assert result.record.wasted == 0


def test_instances_work_side_by_side() -> None:
    one, four = (simulate(a_scenario(Closed(400), 5000, instances=n)).throughput_per_s for n in (1, 4))
    assert four == pytest.approx(4 * one, rel=0.1)


def test_the_first_level_waits_least() -> None:
    given = replace(a_scenario(Poisson(2000.0), 3000, max_queue=5000), priorities=(0.2, 0.6, 0.2))
    result = simulate(given)
    levels = np.array(_levels(given))
    latencies = result.ended_ns - result.arrived_ns
    first, middle, last = (latencies[levels == level].mean() for level in (1, 2, 3))
    assert first < middle < last


def _levels(given: Scenario) -> list[int]:
    from beyond_serve.bench.simulate.simulation import _Simulation

    levels = _Simulation(given)._drawn_levels()
    assert levels is not None
    assert abs(levels.count(1) / len(levels) - 0.2) < 0.03
    return levels


def test_decoders_bound_the_rate_and_are_the_stage_s() -> None:
    image = SimImage("medium", 121_000, 500, 375, host_ms=10.0)
    given = replace(
        a_scenario(Closed(100), 2000), decoding=Decoding((image,), workers=4), latency=Latency(ALONE)
    )
    result = simulate(given)
    assert result.throughput_per_s == pytest.approx(400, rel=0.03)
    assert result.answered_ns.min() >= 12 * MS


def test_the_part_of_a_device_comes_after_the_host_s() -> None:
    image = SimImage("large", 9_000_000, 3564, 2880, host_ms=1.0, device_ms=20.0)
    decoding = Decoding((image,), workers=4, device_decoders=2)
    result = simulate(replace(a_scenario(Closed(50), 600), decoding=decoding))
    assert result.throughput_per_s == pytest.approx(100, rel=0.05)
    alone = simulate(replace(a_scenario(Closed(1), 20), decoding=decoding))
    assert set(alone.answered_ns.tolist()) == {24 * MS}


def test_what_cannot_be_met_after_decoding_is_not_decoded() -> None:
    image = SimImage("medium", 121_000, 500, 375, host_ms=10.0)
    given = replace(a_scenario(Poisson(400.0), 1500), decoding=Decoding((image,), workers=2), slo_ms=60.0)
    result = simulate(given)
    assert result.goodput_per_s == pytest.approx(200, rel=0.06)
    assert result.answered_ns.max() <= 60 * MS
    # Two workers allow 200/s; the rest is refused before it costs them anything.
    assert np.count_nonzero(result.outcome == Outcome.REFUSED) > 0.4 * 1500


def test_time_outside_is_part_of_each_latency() -> None:
    given = a_scenario(ConstantRate(100.0), 100)
    assert set(simulate(replace(given, outside_ns=MS)).answered_ns.tolist()) == {4 * MS}


def test_an_instance_s_overhead_is_part_of_each_batch_and_of_the_capacity() -> None:
    latency = Latency(VIT_BASE_LIKE, overhead_ns=MS)
    assert latency.by_size(2)[1] == 4 * MS
    assert capacity(latency, 32, 2) == pytest.approx(2 * 32 / 0.019)
    result = simulate(replace(a_scenario(ConstantRate(100.0), 100), latency=latency))
    assert set(result.answered_ns.tolist()) == {4 * MS}


def test_jitter_has_mean_one_and_the_asked_deviation() -> None:
    jitter = Jitter(0.3, np.random.default_rng(0))
    drawn = np.array([jitter.next() for _ in range(20_000)])
    assert drawn.mean() == pytest.approx(1, abs=0.01)
    assert drawn.std() == pytest.approx(0.3, abs=0.01)
    assert drawn.min() > 0


def test_lanes_are_empty_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left waiting that the recorder took for ended."""
    lanes: list[Lane] = []
    original = Lane.__init__

    def remember(lane: Lane, *, by_deadline: bool = False) -> None:
        original(lane, by_deadline=by_deadline)
        lanes.append(lane)

    monkeypatch.setattr(Lane, "__init__", remember)
    for policy in POLICIES:
        simulate(replace(a_scenario(Poisson(2500.0), 500, policy=policy), slo_ms=30.0))
    assert len(lanes) == len(POLICIES)
    assert [lane.living for lane in lanes] == [0] * len(lanes)


@pytest.mark.parametrize(
    "change",
    [{"requests": 0}, {"warmup": 1.0}, {"slo_ms": -1.0}, {"priorities": (0.5, 0.2, 0.2, 0.1)}],
)
def test_a_scenario_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        replace(a_scenario(ConstantRate(1.0)), **change)  # type: ignore[arg-type]


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ConfigError, match="no policy is called 'greedy'"):
        a_scenario(ConstantRate(1.0), policy="greedy")
