"""From counters to joules per image."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from beyond_serve.bench.experiments import energy
from beyond_serve.bench.experiments.energy.counters import EnergyCounter, rapl_counters
from beyond_serve.bench.experiments.energy.window import EnergyWindow, Used, per_image
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.errors import ConfigError


def counter(kind: str, *readings: float, range_joules: float = 0.0) -> EnergyCounter:
    left = list(readings)
    return EnergyCounter(kind, kind, lambda: left.pop(0), range_joules)  # type: ignore[arg-type]


def test_a_window_adds_up_what_its_counters_used() -> None:
    times = iter((10.0, 14.0))
    counters = [counter("cpu", 100.0, 140.0), counter("cpu", 0.0, 20.0), counter("gpu", 5.0, 405.0)]
    used = EnergyWindow(counters, lambda: next(times)).close()
    assert used == Used(4.0, {"cpu": 60.0, "gpu": 400.0})
    assert (used.watts("cpu"), used.watts("gpu")) == (15.0, 100.0)


def test_a_counter_that_begins_again_has_passed_its_range() -> None:
    times = iter((0.0, 1.0))
    used = EnergyWindow([counter("cpu", 990.0, 15.0, range_joules=1000.0)], lambda: next(times)).close()
    assert used.joules == {"cpu": 25.0}


def test_idle_power_is_subtracted_for_the_same_time() -> None:
    loaded = Used(10.0, {"cpu": 500.0, "gpu": 3000.0})
    idle = Used(2.0, {"cpu": 20.0, "gpu": 100.0})
    assert per_image(loaded, idle, 1000) == {"cpu": 0.4, "gpu": 2.5}
    assert per_image(loaded, idle, 0) == {}


def zone(folder: Path, number: str, name: str, microjoules: str) -> None:
    path = folder / f"intel-rapl:{number}"
    path.mkdir()
    (path / "name").write_text(name)
    (path / "max_energy_range_uj").write_text("262143328850\n")
    (path / "energy_uj").write_text(microjoules)


def test_packages_are_read_and_their_parts_are_not(tmp_path: Path) -> None:
    zone(tmp_path, "0", "package-0\n", "5000000\n")
    zone(tmp_path, "0:0", "core\n", "3000000\n")
    zone(tmp_path, "1", "package-1\n", "no number")
    (found,) = rapl_counters(tmp_path)
    assert (found.name, found.kind, found.read_joules()) == ("cpu package-0", "cpu", 5.0)
    assert found.range_joules == pytest.approx(262143.32885)


def test_without_a_counter_nothing_is_started(tmp_path: Path) -> None:
    given = argparse.Namespace(quick=True)
    run = RunFolder.create(tmp_path, "energy", {}, 0)
    with pytest.raises(ConfigError, match="no energy counter can be read"):
        energy.measure_all(given, run, Reporter(), [], lambda: 0.0, lambda _: None)


def test_points_make_a_table_and_a_plot(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "energy", {}, 0)
    run.add_point(
        {
            "labels": {"model": "demo", "size": "medium", "preprocess": "cpu"},
            "load": {"throughput_per_s": 900.0},
            "joules_per_image": {"cpu": 0.05},
            "watts": {"cpu": 60.0},
            "idle_watts": {"cpu": 15.0},
        }
    )
    (table,) = energy.tables(run)
    assert table.rows == [("demo", "medium", "CPU", 50.0, 60.0, 15.0, 900.0)]
    (figure,) = energy.plots(run)
    assert figure.name == "energy"
