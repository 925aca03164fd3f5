from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.bench.load.breakdown import PARTS, negative_networks, parts_us, stage_breakdown
from tests.bench.load.tables import MS, STAGE_COUNT, table


def traced(count: int = 1000) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    scheduled = np.arange(count) * MS
    sent = scheduled + rng.integers(0, MS // 10, count)
    stages = rng.integers(0, 500, (count, STAGE_COUNT)).astype(float)
    network = rng.integers(10_000, MS, count)
    received = sent + (stages.sum(axis=1) * 1000).astype(np.int64) + network
    return scheduled, sent, received, stages, network


def test_the_parts_add_up_to_each_latency() -> None:
    scheduled, sent, received, stages, network = traced()
    parts = parts_us(table(scheduled, sent, received, stages_us=stages))
    assert parts.sum(axis=1) == pytest.approx((received - scheduled) / 1e3)
    assert parts[:, PARTS.index("network")] == pytest.approx(network / 1e3, rel=1e-4)
    assert parts[:, PARTS.index("residual")] == pytest.approx(0)


def test_means_add_up_to_the_mean_latency() -> None:
    scheduled, sent, received, stages, _ = traced()
    found = stage_breakdown(table(scheduled, sent, received, stages_us=stages))
    assert sum(found["mean"].values()) == pytest.approx((received - scheduled).mean() / 1e6)


def test_around_p99_are_those_that_rank_there() -> None:
    count = 2000
    stages = np.zeros((count, STAGE_COUNT))
    stages[:, 7] = np.arange(count)  # infer: the request's rank, in microseconds
    order = np.random.default_rng(1).permutation(count)
    scheduled = np.zeros(count, np.int64)
    found = stage_breakdown(table(scheduled, scheduled, (stages[order, 7] * 1000), stages_us=stages[order]))
    assert found["p99"]["infer"] == pytest.approx(1.98, abs=0.011)
    assert found["p50"]["infer"] == pytest.approx(1.0, abs=0.011)
    assert found["mean"]["infer"] == pytest.approx(0.9995)


def test_requests_without_a_trace_are_left_out() -> None:
    stages = np.full((4, STAGE_COUNT), np.nan)
    stages[1] = 1000.0
    found = stage_breakdown(table([0] * 4, [0] * 4, [20 * MS] * 4, stages_us=stages))
    assert found["mean"]["network"] == pytest.approx(20 - STAGE_COUNT)
    assert set(found) == {"mean"}


def test_another_server_has_no_stages() -> None:
    assert stage_breakdown(table([0], [0], [MS])) == {}


def test_a_server_that_claims_more_than_the_client_waited_is_noticed() -> None:
    stages = np.zeros((3, STAGE_COUNT))
    stages[0, 0] = 2000
    assert negative_networks(table([0] * 3, [0] * 3, [MS] * 3, stages_us=stages)) == 1
    assert negative_networks(table([0], [0], [MS])) == 0
