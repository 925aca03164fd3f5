"""`beyond-bench simulate` from its flags to its points."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from rich.console import Console

from beyond_serve.bench.experiments.frame import add_common_arguments
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.experiments.simulate import EXPERIMENT
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.simulate.multi_gpu import BEYOND_LIKE
from beyond_serve.errors import BeyondError, ConfigError
from tests.bench.experiments.points import load, run_of


def parsed(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    EXPERIMENT.add_arguments(parser)
    return parser.parse_args(flags)


def run(tmp_path: Path, *flags: str) -> RunFolder:
    given = parsed(*flags)
    folder = RunFolder.create(tmp_path, "simulate", {}, given.seed)
    EXPERIMENT.run(given, folder, Reporter(Console(quiet=True)))
    return RunFolder.open(folder.path)


def test_each_policy_at_each_load_is_a_point_that_says_it_is_simulated(tmp_path: Path) -> None:
    folder = run(tmp_path, "--policy", "fixed-unaware,deadline", "--load", "0.5,1.5", "--requests", "600")
    labels = [(point["labels"]["policy"], point["labels"]["load"]) for point in folder.points]
    assert labels == [(policy, at) for policy in ("fixed-unaware", "deadline") for at in (0.5, 1.5)]
    assert all(point["load"]["simulated"] for point in folder.points)
    assert folder.points[3]["load"]["slo_ms"] == 50.0
    assert [table.title for table in EXPERIMENT.tables(folder)] == ["Policies over loads", "Not answered"]
    assert EXPERIMENT.verdicts(folder) == []


def test_the_flags_are_the_scenario_s(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text(
        json.dumps({"name": "t", "input": [8, 8, 3], "classes": 3, "latency_ms": {"1": 1.0, "4": 2.0}})
    )
    flags = ("--table", str(file), "--policy", "fixed", "--load", "0.5", "--requests", "400", "--slo-ms", "0")
    (point,) = run(tmp_path, *flags, "--instances", "3", "--arrivals", "constant").points
    assert point["simulation"]["capacity_per_s"] == pytest.approx(6000)
    assert point["load"]["offered_per_s"] == pytest.approx(3000, rel=0.01)
    assert point["load"]["goodput_per_s"] is None
    (smaller,) = run(tmp_path, *flags, "--max-batch", "2").points
    assert smaller["simulation"]["capacity_per_s"] == pytest.approx(2 / (4 / 3) * 1e3)


@pytest.mark.parametrize(
    "flags",
    [
        ("--load", "0.5,x"),
        ("--load", "0"),
        ("--policy", "greedy"),
        ("--arrivals", "gamma"),
        ("--table", "nowhere.json"),
    ],
)
def test_flags_that_make_no_sense_are_told_before_anything_runs(
    tmp_path: Path, flags: tuple[str, str]
) -> None:
    with pytest.raises(BeyondError):
        run(tmp_path, *flags)
    assert [RunFolder.open(path).points for path in tmp_path.iterdir()] == [[]]


def test_a_load_list_has_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'1,,2' is no list of loads"):
        run(tmp_path, "--load", "1,,2")


@pytest.mark.parametrize("both", [("--asked", "--check"), ("--figure", "9", "--asked")])
def test_only_one_thing_at_a_time(both: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(*both)
    assert "not allowed with" in capsys.readouterr().err


def test_fig_9_stands_beside_what_beyond_says() -> None:
    points = [
        {
            "labels": {"figure": 9, "host": BEYOND_LIKE.name, "curve": "large, GPU", "gpus": gpus},
            "load": load(rate),
        }
        for gpus, rate in ((1, 700.0), (2, 1400.0), (3, 1600.0))
    ]
    rates, words = EXPERIMENT.tables(run_of(*points))
    assert rates.rows[2][4] == 1600.0
    assert ("large, GPU", "1 to 2 notable, then marginal", "x1.00, x2.00, x2.29", "Beyond 4.6, Fig. 9") in [
        tuple(row) for row in words.rows
    ]
