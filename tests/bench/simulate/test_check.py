"""The comparison with a real server, without one."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beyond_serve.batching import STAGES
from beyond_serve.bench.load import ClosedLoop, LoadResult, Poisson
from beyond_serve.bench.load.result import Window
from beyond_serve.bench.simulate import check
from beyond_serve.bench.simulate.scenario import VIT_BASE_LIKE
from beyond_serve.bench.simulate.simulation import simulate
from beyond_serve.engines.sim_engine import read_sim_table
from beyond_serve.server.config import ModelConfig
from tests.bench.load.tables import MS, S, spec, table

MODEL = ModelConfig("m", "sim:", max_batch=32)


def result_of(rows: Any, start_ns: int, arrivals: Any) -> LoadResult:
    """What the check looks at; of the rest, nothing."""
    window = Window(start_ns, int(rows.received_ns.max()))
    given: dict[str, Any] = {"spec": spec(arrivals), "table": rows, "error_names": ("",), "window": window}
    return LoadResult(**{field.name: () for field in fields(LoadResult)} | given)


def zero_load() -> LoadResult:
    """One request at a time: 0.2 ms more than the table on the instance, 0.7 ms outside of it."""
    stages = dict.fromkeys(STAGES, 0.0) | {
        "copy_in": 50.0,
        "infer": 3100.0,
        "postprocess": 50.0,
        "decode": 300.0,
    }
    sent = np.arange(10) * 10 * MS
    rows = table(sent, sent, sent + round(3.9 * MS), stages_us=[[stages[name] for name in STAGES]] * 10)
    return result_of(rows, 0, ClosedLoop(1))


def test_what_the_simulation_is_told_is_what_zero_load_takes_beside_the_table() -> None:
    beside = check._beside(zero_load(), VIT_BASE_LIKE)
    assert beside.batch_ns == pytest.approx(0.2 * MS, abs=MS / 1000)
    assert beside.outside_ns == pytest.approx(0.7 * MS, abs=MS / 1000)


def test_the_same_arrivals_are_simulated_from_when_they_were_sent() -> None:
    """Late by 2 ms and with a warm-up of a second; the ones that were never sent are left out."""
    scheduled = np.arange(40) * (S // 20)
    rows = table(scheduled, scheduled + 2 * MS, scheduled + 6 * MS)
    rows = replace(rows, measured=scheduled >= S)
    rows.sent_ns[-1] = 0
    given = check._same(result_of(rows, S, Poisson(20.0)), VIT_BASE_LIKE, MODEL, check.Beside(MS, 2 * MS))
    result = simulate(given)
    assert given.requests == 39
    assert result.arrived_ns[:3].tolist() == [0, S // 20, S // 10]
    assert np.count_nonzero(result.measured) == 19
    assert set(result.answered_ns.tolist()) == {6 * MS}


def test_the_table_that_the_server_reads_is_the_one_that_is_simulated(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    file.write_text(check._json(check.SLOW_TABLE))
    assert json.loads(file.read_text())["latency_ms"] == {"1": 30.0, "8": 60.0, "32": 180.0}
    assert read_sim_table(f"sim:{file}") == check.SLOW_TABLE


def test_a_batch_s_delay_is_no_time_outside() -> None:
    """The simulation has the policy's delay itself."""
    result = zero_load()
    result.table.stages_us[:, STAGES.index("batch_wait")] = 500.0
    assert check._beside(result, VIT_BASE_LIKE).outside_ns == pytest.approx(0.2 * MS, abs=MS / 1000)


def test_batches_longer_than_at_zero_load_make_it_void() -> None:
    result = zero_load()
    beside = check._beside(result, VIT_BASE_LIKE)
    assert list(check._disturbance(result, VIT_BASE_LIKE, beside)) == []
    # 5 % of 3 ms are allowed, and only in one of a hundred more.
    result.table.stages_us[3, STAGES.index("infer")] += 200.0
    (reason,) = check._disturbance(zero_load_of(result), VIT_BASE_LIKE, beside)
    assert "disturbed" in reason
    result.table.stages_us[3, STAGES.index("infer")] -= 100.0
    assert list(check._disturbance(zero_load_of(result), VIT_BASE_LIKE, beside)) == []


def test_without_traces_nothing_is_judged() -> None:
    sent = np.arange(5) * 10 * MS
    result = result_of(table(sent, sent, sent + 4 * MS), 0, ClosedLoop(1))
    assert list(check._disturbance(result, VIT_BASE_LIKE, check.Beside(0, 0))) == [
        "the server gave no traces"
    ]


def zero_load_of(result: LoadResult) -> LoadResult:
    """The same rows, with nothing remembered of what they were."""
    return result_of(result.table, 0, ClosedLoop(1))


def side(name: str, load: float, rate: float, p99: float | None, void: str = "") -> dict[str, Any]:
    labels = {"part": "check", "load": load, "side": name}
    latency = {"p99": p99}
    kept = {"throughput_per_s": rate, "latency_from_send_ms": latency, "void": [void] if void else []}
    return {"labels": labels, "load": kept}


def test_both_sides_of_a_load_are_compared() -> None:
    good = [side("real", 0.5, 100, 50.0), side("simulated", 0.5, 102, 46.0)]
    assert [verdict.met for verdict in check.verdicts(good)] == [True, True]
    bad = [side("real", 0.8, 100, 50.0), side("simulated", 0.8, 104, 44.0)]
    assert [verdict.measured for verdict in check.verdicts(bad)] == ["+4.0%", "-12.0%"]
    assert [verdict.met for verdict in check.verdicts(bad)] == [False, False]
    assert len(check.verdicts(good + bad)) == 4


def test_what_is_void_is_not_judged() -> None:
    void = [side("real", 0.5, 100, 90.0, void="the generator was late"), side("simulated", 0.5, 100, 46.0)]
    assert check.verdicts(void) == []


def test_too_few_answers_for_a_p99_are_not_judged_by_it() -> None:
    few = [side("real", 0.5, 100, None), side("simulated", 0.5, 100, 40.0)]
    assert len(check.verdicts(few)) == 1
    assert check.verdicts(few[:1]) == []
