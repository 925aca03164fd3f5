"""Interleaved rounds: order, counting, medians."""

from __future__ import annotations

import threading

import pytest
from rich.console import Console

from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.experiments.rounds import (
    Case,
    Length,
    Rounds,
    Sample,
    disturbed,
    interleaved,
    measure,
    rotated,
)


def test_every_case_begins_a_round_and_rounds_alternate() -> None:
    cases = [Case(name, ()) for name in "abc"]
    orders = ["".join(case.name for case in rotated(cases, turn)) for turn in range(4)]
    assert orders == ["abc", "acb", "cab", "cba"]


def test_medians_over_rounds() -> None:
    rounds = Rounds([Sample(rate, 0.1, 0.0) for rate in (5.0, 100.0, 7.0)])
    point = rounds.point()
    assert (point["images_per_s"], point["low"], point["high"], point["rounds"]) == (7.0, 5.0, 100.0, 3)


def test_workers_run_at_the_same_time() -> None:
    together = threading.Barrier(2)

    def work() -> int:
        together.wait(10)
        return 3

    sample = measure([work, work], 0.0)
    assert sample.images_per_s > 0


def test_each_case_has_its_rounds_after_one_warm_up() -> None:
    calls = {"a": 0, "b": 0}

    def worker(name: str) -> int:
        calls[name] += 1
        return 1

    cases = [Case(name, [lambda name=name: worker(name)]) for name in calls]
    found = interleaved(cases, Length(3, 0.0), Reporter(Console(quiet=True)), "test")
    assert calls == {"a": 4, "b": 4}
    assert [len(rounds.samples) for rounds in found.values()] == [3, 3]


def test_a_worker_that_fails_is_told() -> None:
    def work() -> int:
        raise ValueError("no image")

    with pytest.raises(ValueError, match="no image"):
        measure([work], 0.0)


def test_disturbance_is_told_only_where_there_was_any() -> None:
    assert disturbed([{"others_cpu": 0.05}]) == []
    (line,) = disturbed([{"others_cpu": 0.05}, {"others_cpu": 0.5}])
    assert line.startswith("DISTURBED: in 1 of 2 points other programs took 50 to 50 %")
