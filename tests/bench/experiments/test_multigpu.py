"""Emulated devices, and what their curves say."""

from __future__ import annotations

from pathlib import Path

import pytest

from beyond_serve.bench.experiments import multigpu
from beyond_serve.bench.experiments.multigpu import INFERENCE, Emulated, concurrency, gains, plots, tables
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.engines.sim_engine import read_sim_table


@pytest.mark.parametrize("rate", [50.0, 200.0, 12_500.0])
def test_an_emulated_device_has_its_rate_at_the_largest_batch(rate: float, tmp_path: Path) -> None:
    import json

    path = tmp_path / "device.json"
    path.write_text(json.dumps(Emulated(rate).table(16)))
    table = read_sim_table(f"sim:{path}")
    assert 32_000 / table.latency_ms(32) == pytest.approx(rate)
    assert table.latency_ms(1) < table.latency_ms(32) / 4


def test_large_images_are_fewer_at_a_time() -> None:
    assert concurrency(4, 0) == 384
    assert concurrency(4, 121_000) == 384
    assert concurrency(4, 9_528_000) < 20


def a_run(folder: Path) -> RunFolder:
    run = RunFolder.create(folder, "multigpu", {}, 0)
    for curve, rates in (("medium, CPU", (100.0, 190.0)), (INFERENCE, (200.0, 400.0))):
        for devices, rate in zip((1, 2), rates, strict=True):
            run.add_point(
                {
                    "labels": {"curve": curve, "devices": devices},
                    "load": {"throughput_per_s": rate, "void": []},
                    "server": {"cpu": 0.5},
                    "simulated": True,
                }
            )
    return run


def test_gains_are_told_from_the_first(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    assert [round(gain, 2) for _, _, gain in gains(run.points[:2])] == [1.0, 1.9]
    (table,) = tables(run)
    assert [row[3] for row in table.rows] == ["1.00x", "1.90x", "1.00x", "2.00x"]
    assert [figure.ours(run) for figure in multigpu.EXPERIMENT.published] == [
        "1.90x with 2 (medium, CPU, simulated)",
        None,
        None,
        "2.00x with 2 (inference only, simulated)",
    ]


def test_a_run_without_points_has_no_table(tmp_path: Path) -> None:
    assert tables(RunFolder.create(tmp_path, "multigpu", {}, 0)) == ()


def test_the_curves_are_drawn(tmp_path: Path) -> None:
    (figure,) = plots(a_run(tmp_path))
    assert figure.name == "multigpu"
