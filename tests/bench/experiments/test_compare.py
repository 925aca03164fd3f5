"""Threads asked for, and what the points say beside the paper."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from beyond_serve.bench.experiments import compare
from beyond_serve.bench.experiments.compare import BEST, PLAIN, WHOLE, asked_threads, lines, plots, tables
from beyond_serve.errors import ConfigError
from tests.bench.experiments.points import run_of


@pytest.mark.parametrize(("cores", "threads"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_threads_double_up_to_all_cores(cores: int, threads: list[int]) -> None:
    assert asked_threads(None, cores) == threads


def test_asked_threads_are_taken() -> None:
    assert asked_threads("4,1", 2) == [1, 4]


@pytest.mark.parametrize("text", ["0", "", "two", "1,-1", "4096"])
def test_no_thread_counts(text: str) -> None:
    with pytest.raises(ConfigError, match="no list of thread counts"):
        asked_threads(text, 2)


def point(panel: str, what: str, threads: int, rate: float, others: float = 0.0) -> dict[str, Any]:
    return {
        "labels": {"panel": panel, "what": what, "threads": threads},
        "images_per_s": rate,
        "low": rate * 0.9,
        "high": rate * 1.1,
        "rounds": 3,
        "cpu_s": 0.002,
        "others_cpu": others,
        "model": "demo",
        "image": "medium",
        "batch": 16,
    }


def a_run() -> Any:
    torch = "PyTorch-style (Pillow + NumPy)"
    return run_of(
        point(PLAIN, "ours, optimisations off", 1, 300.0),
        point(PLAIN, torch, 1, 200.0),
        point(BEST, "ours, fast", 1, 1000.0, others=0.5),
        point(BEST, "ours, fast", 2, 2000.0),
        point(BEST, torch, 1, 500.0),
        point(BEST, torch, 2, 500.0),
    )


def test_ours_is_told_against_each_other_at_the_same_threads() -> None:
    told = {figure.what: figure.ours(a_run()) for figure in compare.EXPERIMENT.published}
    assert told["(a) against PyTorch-style"] == "ours over PyTorch-style: 1.50x with 1"
    assert told["(b) against PyTorch-style"] == "ours over PyTorch-style: 2.00x with 1, 4.00x with 2"
    assert told["(b) against DALI"] is None


def test_a_table_for_each_panel_that_was_measured() -> None:
    run = a_run()
    plain, best = tables(run)
    assert plain.rows[0] == ("ours, optimisations off", 300.0, None, 2.0)
    assert best.columns == ("", "1 thread", "2 threads", "CPU ms")
    assert lines(run, WHOLE) == {}


def test_points_that_others_disturbed_are_told() -> None:
    whole = point(WHOLE, "ours, fast", 1, 900.0)
    disturbed = run_of(*a_run().points, whole)
    assert any(note.startswith("DISTURBED: in 1 of 7 points") for note in tables(disturbed)[-1].notes)


def test_interrupted_runs_are_drawn_too() -> None:
    assert tables(run_of()) == ()
    assert [figure.name for figure in plots(run_of())] == ["compare"]
    assert [figure.name for figure in plots(a_run())] == ["compare"]


def test_two_images_are_too_many() -> None:
    given = argparse.Namespace(threads="1", batch=1, sizes="small,small", seed=0, quick=True, model="demo")
    with pytest.raises(ConfigError, match="one image"):
        compare.run(given, run_of(), None)  # type: ignore[arg-type]
